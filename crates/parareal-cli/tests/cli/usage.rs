//! Plans, and invalid flags.

use std::fs;
use std::process::Command;

use crate::common::{TINY, errors, json, parareal};

#[test]
fn plan_reproduces_the_parameter_counts_of_the_paper() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["plan", "--depth", "1001", "--classes", "100", "--coarse-unit", "basic"];
    let arguments = [&arguments[..], &["--subnetworks", "3", "--json"]].concat();
    let plan = json(&parareal(folder.path(), &arguments));
    let millions = |key: &str| plan["parameters"][key].as_f64().unwrap() / 1e6;
    assert!((millions("original") - 10.351).abs() < 5e-4);
    assert!((millions("coarse") - 5.6).abs() < 0.05);
    assert!((millions("total") - 15.9).abs() < 0.05);
    assert_eq!(plan["network"], "resnet-1001");
    assert_eq!(plan["classes"], 100);
    assert_eq!(plan["subnetworks"], 3);
    assert_eq!(plan["coarse_unit"], "basic");
    assert_eq!(plan["coarse_units"].to_string(), "[4,4]");
    assert_eq!(plan["units"].to_string(), "[111,111,111]");
    assert_eq!(plan["cuts"].to_string(), "[111,222]");
    assert_eq!(plan["parameters"]["per_subnetwork"].as_array().unwrap().len(), 3);
    assert!(millions("preprocessing") > 0.0 && millions("postprocessing") > 0.0);
    assert_eq!(plan["coarse_choices"][0]["kind"], "basic");
}

#[test]
fn a_plan_says_why_a_coarse_unit_was_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let output = parareal(folder.path(), &["plan", "--depth", "110", "--subnetworks", "3"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let reason = "interface 2 (subnetworks 2 and 3): 1 coarsened unit costs 29 % of the 56.6M \
                  multiply-adds of the subnetwork that it approximates; the paper's units would cost \
                  504 % of that subnetwork";
    assert!(text.contains(reason), "{text}");
    assert!(!text.contains("warning"), "{text}");
}

/// A cut does not speed up a step if its coarse network costs as much as the subnetwork that it approximates.
#[test]
fn coarse_networks_that_are_not_cheaper_are_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let plan = |more: &[&str]| {
        let output = parareal(folder.path(), &[&["plan"], more].concat());
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let deep = ["--depth", "20", "--cuts", "4,5", "--coarse-unit", "depthwise"];
    let warning = "warning: 2 of 2 coarse networks are not cheaper than the subnetworks that they \
                   approximate (540 % at interface 1, 779 % at interface 2, in multiply-adds): on a \
                   compute-bound device, these cuts do not shorten a training step; try \
                   --coarse-unit bottleneck --coarse-units 1, --cuts even --subnetworks 3 or fewer \
                   subnetworks (--subnetworks)";
    assert!(plan(&deep).contains(warning), "{}", plan(&deep));
    let output = parareal(folder.path(), &[&["plan", "--json"], &deep[..]].concat());
    let costs = &json(&output)["coarse_costs"];
    assert_eq!(costs[1]["interface"], 2);
    assert_eq!(costs[1]["basis"], "multiply-adds");
    assert_eq!(costs[1]["is_cheaper"], false);
    assert_eq!((100.0 * costs[1]["share"].as_f64().unwrap()).round(), 779.0);

    let many = plan(&["--subnetworks", "6", "--coarse-units", "99"]);
    assert!(many.contains("warning: 5 of 5 coarse networks are not cheaper"), "{many}");
    assert!(many.contains("and 2 more, in multiply-adds"), "{many}");
    // Flags that are proposed are sufficient, if there are such.
    for (network, expected) in [
        ("--depth 20 --subnetworks 3", "--coarse-unit quarter --coarse-units 1"),
        (
            "--depth 20 --subnetworks 3 --coarse-unit basic",
            "--coarse-unit quarter --coarse-units 1",
        ),
        ("--depth 29 --subnetworks 3 --coarse-unit basic", "--coarse-unit auto"),
        ("--depth 29 --subnetworks 3 --coarse-units 4", "--coarse-unit auto --coarse-units 1"),
        ("--depth 56 --cuts 1,17", "--cuts even --subnetworks 3"),
        ("--network vit-tiny --cuts 4,8 --coarse-units 4", "--coarse-unit auto --coarse-units 1"),
        ("--network resnet50 --cuts 4,8 --coarse-unit basic", "--coarse-unit auto"),
    ] {
        let arguments: Vec<&str> = network.split(' ').collect();
        let text = plan(&arguments);
        let proposed = text.split_once("; try ").map(|(_, rest)| rest);
        let proposed =
            proposed.and_then(|rest| rest.split_once(" or fewer subnetworks")).unwrap().0;
        assert_eq!(proposed, expected, "{network}");
        let is_kept = |pair: &&[&str]| !proposed.split(' ').any(|flag| flag == pair[0]);
        let kept = arguments.chunks(2).filter(is_kept).flatten().copied();
        let changed: Vec<&str> = kept.chain(proposed.split(' ')).collect();
        assert!(!plan(&changed).contains("warning"), "{changed:?}: {}", plan(&changed));
    }
    let single = ["--depth", "20", "--cuts", "3,5", "--coarse-unit", "bottleneck"];
    let single = plan(&[&single[..], &["--coarse-units", "1"]].concat());
    assert!(single.contains("warning: 1 of 2 coarse networks is not cheaper"), "{single}");
    for cheap in [&["--subnetworks", "1"][..], &["--subnetworks", "2"], &["--subnetworks", "3"]] {
        assert!(!plan(cheap).contains("warning"), "{}", plan(cheap));
    }

    // A run starts with the same line.
    let more = ["--cuts", "1,2", "--coarse-units", "9", "--limit-train", "32", "--limit-test", "0"];
    let arguments = [&["train", "--depth", "11", "--epochs", "1"], &more[..]].concat();
    let output = parareal(folder.path(), &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    let said = errors(&output);
    let warnings = said.lines().filter(|line| line.starts_with("warning: 2 of 2 coarse networks"));
    assert_eq!(warnings.count(), 1, "{said}");
}

#[test]
fn wrong_use_is_refused_in_a_line_with_code_2() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("full")).unwrap();
    fs::write(folder.path().join("full/file"), "").unwrap();
    fs::write(folder.path().join("keys.toml"), "epochs = 1\nbatchsize = 8\n").unwrap();
    for (arguments, expected) in [
        (&["--depth", "12"][..], "try 11 or 20"),
        (&["--depth", "abc"], "invalid value `abc` for --depth: expected a whole number"),
        (&["--seed", "1.5"], "invalid value `1.5` for --seed"),
        (&["--seed", "99999999999999999999"], "expected at most 9223372036854775807"),
        (
            &["--learning-rate", "fast"],
            "invalid value `fast` for --learning-rate: expected a number",
        ),
        (&["--recompute", "x"], "invalid value `x` for --recompute: expected a whole number"),
        (&["--recompute", "--executor", "sequential"], "recompute"),
        (&["--cuts", "2,1"], "increase"),
        (&["--cuts", "1,9"], "out of range"),
        (&["--cuts", "1,b"], "even"),
        (&["--subnetworks", "4"], "4 subnetworks"),
        (&["--subnetworks", "0"], "expected at least 1 subnetwork"),
        (&["--dataset", "photos"], "shapes, mnist"),
        (&["--dataset", "mnist"], "download the files with `parareal data fetch NAME`"),
        (&["--dataset", "mnist", "--data-dir", "none"], "none"),
        (&["--output", "full"], "not an empty folder"),
        (&["--output", "full", "--cuts", "balanced"], "not an empty folder"),
        (&["--config", "keys.toml"], "did you mean `batch-size`?"),
        (&["--config", "none.toml"], "none.toml"),
        (&["--device", "rocm:77"], "available: cpu"),
        (&["--device", "abacus"], "expected cpu, or"),
        (
            &["--device", "cpu", "--device", "cpu", "--workers", "1"],
            "expected at most 1, one for each worker",
        ),
        (&["--epochs", "0"], "epochs"),
        (&["--batch-size", "0"], "batch-size"),
        (&["--momentum", "-0.1"], "momentum"),
        (
            &["--mixup", "-0.1"],
            "invalid value `-0.1` for mixup: expected 0 for none, or a positive",
        ),
        (
            &["--cutmix", "inf"],
            "invalid value `inf` for cutmix: expected 0 for none, or a positive",
        ),
        (&["--learning-rate", "inf"], "learning-rate"),
        (&["--workers", "9"], "workers"),
        (&["--threads", "1000000"], "from 1 to 1024"),
        (&["--depth", "18446744073709551615"], "at most 100000"),
        (&["--coarse-units", "100000000"], "expected at most 1000"),
        (&["--replicas", "0"], "invalid value `0` for replicas"),
        (
            &["--replicas", "2", "--executor", "sequential"],
            "the sequential executor has a single replica",
        ),
        (&["--replicas", "33"], "the last batch of an epoch has 32 of the 96 training samples"),
        (&["--link-dtype", "bf16"], "requires the mpi executor"),
        (&["--precision", ""], "invalid value `` for --precision: expected f32 or bf16"),
        (&["--accumulate"], "no value for --accumulate"),
        (&["--accumulate", "33"], "invalid value `33` for accumulate: expected at most 32"),
        (
            &["--accumulate", "9", "--replicas", "4"],
            "invalid value `4` for replicas: expected at most 3, because",
        ),
        (&["--timeout", "60"], "invalid value `60` for --timeout: requires the mpi executor"),
        (&["--overwrite"], "--overwrite requires --timeline"),
        (&["--timeline-step", "3"], "--timeline-step requires --timeline"),
        (
            &["--timeline", "step.svg", "--timeline-step", "x"],
            "invalid value `x` for --timeline-step",
        ),
        (
            &["--timeline", "step.svg", "--timeline-step", "4"],
            "invalid value `4` for timeline-step: expected a step from 1 to 3",
        ),
        (
            &["--timeline", "step.svg", "--executor", "sequential"],
            "invalid value `step.svg` for timeline: the sequential executor has no timeline",
        ),
        #[cfg(not(feature = "mpi"))]
        (
            &["--executor", "mpi"],
            "invalid value `mpi` for executor: this program was built without MPI; build it with",
        ),
    ] {
        // Flags of `TINY` that are given again are left out, because clap would first report a
        // repeated flag.
        let pairs = TINY.chunks(2).filter(|pair| !arguments.contains(&pair[0])).flatten();
        let all: Vec<&str> =
            std::iter::once(&"train").chain(pairs).chain(arguments).copied().collect();
        let output = parareal(folder.path(), &all);
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty());
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    }
    assert!(!folder.path().join("runs").exists());
    for arguments in [&["train", "--nonsense"][..], &["train", "--epochs", "x"], &[], &["eval"]] {
        assert_eq!(parareal(folder.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
    let eval = parareal(folder.path(), &["eval", "full"]);
    assert_eq!(eval.status.code(), Some(2));
}

#[test]
fn help_and_version_exit_with_code_0() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [&["--version"][..], &["--help"], &["train", "--help"], &["plan", "--help"]] {
        let output = parareal(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn unknown_values_of_environment_variables_are_refused() {
    let run = |arguments: &[&str], variable: &str, value: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_parareal"));
        command.args(arguments).env(variable, value).output().unwrap()
    };
    let plan = ["plan", "--depth", "11"];
    let valid = [("SIMD", ""), ("SIMD", "portable"), ("KERNELS", ""), ("KERNELS", "composed")];
    for (variable, value) in valid {
        let output = run(&plan, &format!("PARAREAL_{variable}"), value);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    }
    for (variable, value, expected, last) in [
        ("PARAREAL_SIMD", "avx1024", "what this machine has: ", "portable\n"),
        ("PARAREAL_KERNELS", "compose", "fused or composed\n", ""),
    ] {
        // Commands that do not compute ignore it.
        assert_eq!(run(&["completions", "bash"], variable, value).status.code(), Some(0));
        let output = run(&plan, variable, value);
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        let part = format!("error: invalid value `{value}` for {variable}: expected {expected}");
        assert!(message.starts_with(&part) && message.ends_with(last), "{message}");
    }
}
