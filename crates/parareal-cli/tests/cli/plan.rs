//! `plan`: the paper's numbers, suggestions, timelines, and invalid flags.

use std::fs;
use std::path::Path;

use crate::common::{assert_rows_do_not_overlap, errors, json, parareal};
use roxmltree::Document;
use serde_json::Value;

const PAPER: [&str; 6] = ["--depth", "1001", "--coarse-unit", "basic", "--costs", "paper"];

/// Returns the JSON output of `plan` with these flags.
fn plan(folder: &Path, arguments: &[&str]) -> Value {
    let output = parareal(folder, &[&["plan"], arguments, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    json(&output)
}

/// Returns the predicted step with the paper's costs.
fn paper(subnetworks: &str, more: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&PAPER[..], &["--subnetworks", subnetworks], more].concat();
    plan(folder.path(), &arguments)["predicted"].clone()
}

fn speedup(predicted: &Value) -> f64 {
    predicted["speedup"].as_f64().unwrap()
}

/// Writes a made-up table of costs, so that nothing has to be measured.
fn costs(folder: &Path) {
    let image = |stage: usize| serde_json::json!({ "channels": 64 << stage, "size": 32 >> stage });
    let narrow = serde_json::json!({ "channels": 16, "size": 32 });
    let part = |mut name: Value, milliseconds: f64| {
        for key in ["forward_ms", "input_gradient_ms", "weight_gradient_ms"] {
            name[key] = milliseconds.into();
        }
        name["update_ms"] = 0.0.into();
        name["spread_ms"] = 0.0.into();
        name
    };
    let mut parts = vec![part(serde_json::json!({ "part": "preprocessing", "to": narrow }), 0.1)];
    for to in 0..3 {
        let name = serde_json::json!({ "part": "preprocessing", "to": image(to) });
        parts.push(part(name, 0.1));
    }
    for (kind, milliseconds) in
        [("basic", 8.0), ("bottleneck", 1.0), ("depthwise", 2.0), ("coarsened", 2.0)]
    {
        let mut unit = |from: Value, to: Value| {
            let name = serde_json::json!({ "part": "unit", "kind": kind, "from": from, "to": to });
            parts.push(part(name, milliseconds));
        };
        if kind == "bottleneck" {
            unit(narrow.clone(), image(0));
        }
        for from in 0..3 {
            (from..3.min(from + 2)).for_each(|to| unit(image(from), image(to)));
        }
    }
    let name = serde_json::json!({ "part": "postprocessing", "from": image(2) });
    parts.push(part(name, 0.1));
    let table = serde_json::json!({
        "costs": { "batch": 8, "channels": 3, "classes": 10, "threads": 1, "device": "cpu",
                   "parts": parts }
    });
    fs::write(folder.join("costs.json"), table.to_string()).unwrap();
}

#[test]
fn costs_of_the_paper_give_its_speedups_and_larger_ones_with_overlap() {
    for (subnetworks, printed, least) in [("6", "4.10", 4.95), ("18", "5.95", 9.7)] {
        let even = paper(subnetworks, &["--cuts", "even", "--schedule", "paper"]);
        assert_eq!(format!("{:.2}", speedup(&even)), printed);
        let balanced = paper(subnetworks, &["--device-count", subnetworks, "--cuts", "balanced"]);
        assert!(speedup(&balanced) >= least, "{balanced}");
        assert_eq!(balanced["devices"].to_string(), subnetworks);
        let ratio = balanced["serial_ms"].as_f64().unwrap() / balanced["step_ms"].as_f64().unwrap();
        assert!((ratio - speedup(&balanced)).abs() < 1e-9);
        let assumed = balanced["assumptions"].to_string();
        assert!(assumed.contains("50 % of the coarse network's backward pass"), "{assumed}");
        // The larger the deferrable part of the backward pass, the larger the speedup.
        let share =
            |share| paper(subnetworks, &["--cuts", "balanced", "--coarse-weight-share", share]);
        assert!(speedup(&share("0.7")) > speedup(&balanced));
        assert!(speedup(&share("0")) < speedup(&balanced));
        let at_once = paper(subnetworks, &["--cuts", "balanced", "--defer", "false"]);
        assert_eq!(speedup(&at_once), speedup(&share("0")));
    }
}

#[test]
fn the_nearest_row_of_the_papers_table_is_used_and_named() {
    let between = paper("4", &[]);
    assert!(between["assumptions"].to_string().contains("no row for N = 4: N = 3 is used"));
    let folder = tempfile::tempdir().unwrap();
    let other = ["--depth", "164", "--coarse-unit", "basic", "--subnetworks", "3"];
    let other = plan(folder.path(), &[&other[..], &["--costs", "paper"]].concat());
    let assumptions = other["predicted"]["assumptions"].to_string();
    for assumption in [
        "costs of the paper's Table 2, with a batch of 128 on a Titan RTX",
        "Table 2 is for ResNet-1001",
        "Table 2 is for 100 classes",
    ] {
        assert!(assumptions.contains(assumption), "{assumptions}");
    }
    let same = paper("3", &["--classes", "100"])["assumptions"].to_string();
    assert!(!same.contains("classes") && !same.contains("ResNet-1001"), "{same}");
}

#[test]
fn balanced_cuts_are_the_best_of_all_and_better_than_even_ones() {
    let folder = tempfile::tempdir().unwrap();
    costs(folder.path());
    let step = |cuts: &str| {
        let network = ["--depth", "20", "--subnetworks", "3", "--costs", "costs.json"];
        let unit = ["--coarse-unit", "bottleneck", "--coarse-units", "4", "--cuts", cuts];
        let plan = plan(folder.path(), &[&network[..], &unit].concat());
        (plan["cuts"].to_string(), plan["predicted"]["step_ms"].as_f64().unwrap())
    };
    // Six units can be cut into three in ten ways.
    let pairs = (1..6).flat_map(|first| (first + 1..6).map(move |second| (first, second)));
    let steps: Vec<f64> =
        pairs.map(|(first, second)| step(&format!("{first},{second}")).1).collect();
    assert_eq!(steps.len(), 10);
    let least = steps.iter().copied().fold(f64::INFINITY, f64::min);
    let ((balanced, best), (_, even)) = (step("balanced"), step("even"));
    assert!((best - least).abs() < 1e-9, "{balanced}: {best}, of {steps:?}");
    assert!(even > best + 1.0, "even cuts: {even}, of {steps:?}");
}

#[test]
fn predictions_depend_on_devices_links_and_replicas() {
    let folder = tempfile::tempdir().unwrap();
    costs(folder.path());
    let predicted = |more: &[&str]| {
        let network = ["--depth", "56", "--subnetworks", "6", "--costs", "costs.json"];
        plan(folder.path(), &[&network[..], more].concat())["predicted"].clone()
    };
    let step = |predicted: &Value| predicted["step_ms"].as_f64().unwrap();
    let all = predicted(&[]);
    assert_eq!(all["held"].to_string(), "[1,1,1,1,1,1]");
    assert_eq!(all["utilization"].as_array().unwrap().len(), 6);
    assert_eq!(all["memory_bytes"].as_array().unwrap().len(), 6);
    let two = predicted(&["--device-count", "2", "--cuts", "balanced"]);
    assert_eq!(two["held"].to_string(), "[3,3]");
    assert_eq!(two["devices"], 2);
    assert!(step(&two) > step(&all));
    let slow = predicted(&["--link-gbps", "1", "--link-us", "50"]);
    assert!(step(&slow) > step(&all));
    let way = |predicted: &Value, kind: &str| predicted["critical_path_ms"][kind].as_f64().unwrap();
    assert!(way(&slow, "link") > 0.0 && way(&all, "link") == 0.0);
    let path: f64 = ["fine", "chain", "link"].iter().map(|kind| way(&slow, kind)).sum();
    assert!((path - step(&slow)).abs() < 1e-9);
    let copies = predicted(&["--link-gbps", "1", "--link-us", "50", "--replicas", "4"]);
    assert!(step(&copies) > step(&slow) && speedup(&copies) > speedup(&slow));
    // Devices beyond the number of subnetworks are not used.
    let many = predicted(&["--device-count", "50"]);
    assert_eq!((many["devices"].as_u64(), step(&many)), (Some(6), step(&all)));
    let assumptions = many["assumptions"].to_string();
    assert!(assumptions.contains("44 of 50 devices are not used"), "{assumptions}");
}

#[test]
fn coarse_networks_are_compared_by_time_where_costs_are_known() {
    let folder = tempfile::tempdir().unwrap();
    costs(folder.path());
    let shares = |more: &[&str]| {
        let planned = plan(folder.path(), more);
        let costs = planned["coarse_costs"].as_array().unwrap();
        assert!(costs.iter().all(|cost| cost["basis"] == "time"), "{planned}");
        costs.iter().map(|cost| cost["share"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    // Four coarse units of 2 ms approximate six units of 1 ms.
    let network = ["--depth", "56", "--subnetworks", "3", "--coarse-unit", "depthwise"];
    let known = [&network[..], &["--costs", "costs.json"]].concat();
    let found = shares(&known);
    assert!(found.iter().all(|share| (share - 4.0 / 3.0).abs() < 1e-9), "{found:?}");
    let text = String::from_utf8(parareal(folder.path(), &[&["plan"], &known[..]].concat()).stdout);
    let text = text.unwrap();
    assert!(
        text.contains("(133 % at interface 1, 133 % at interface 2, in time): these cuts do not"),
        "{text}"
    );
    // By multiply-adds, a basic unit costs as much as 17 units of the network; on the paper's
    // device it costs less.
    let basic = ["--depth", "1001", "--coarse-unit", "basic", "--subnetworks", "24"];
    let counted =
        String::from_utf8(parareal(folder.path(), &[&["plan"], &basic[..]].concat()).stdout);
    assert!(counted.unwrap().contains("warning: 21 of 23"));
    let timed = shares(&[&basic[..], &["--costs", "paper"]].concat());
    assert!(timed.len() == 23 && timed.iter().all(|share| *share < 0.2), "{timed:?}");
}

#[test]
fn a_suggestion_fits_in_memory_and_names_its_bound() {
    let folder = tempfile::tempdir().unwrap();
    costs(folder.path());
    let suggest = |more: &[&str]| {
        let network = ["--depth", "56", "--costs", "costs.json", "--suggest"];
        plan(folder.path(), &[&network[..], more].concat())
    };
    let free = suggest(&["--device-count", "6"]);
    let tried = free["predicted"]["tried"].as_array().unwrap();
    let step = |value: &Value| value["step_ms"].as_f64().unwrap();
    let least = tried.iter().map(step).fold(f64::INFINITY, f64::min);
    assert_eq!(step(&free["predicted"]), least);
    assert!(["fine work", "chain"].contains(&free["predicted"]["bound"].as_str().unwrap()));
    // The recommended unit costs less than the paper's here, and its rule always gives one unit.
    assert_eq!(free["coarse_unit"], "auto");
    assert!(free["predicted"]["by_the_papers_rule"].is_null());
    // With one of the paper's units, a cut is worthwhile; with the paper's number of units it is
    // not.
    let basic = suggest(&["--device-count", "6", "--coarse-unit", "basic"]);
    let by_rule = &basic["predicted"]["by_the_papers_rule"];
    assert!(step(by_rule) > step(&basic["predicted"]));
    assert_eq!(by_rule["subnetworks"], 1);
    assert_eq!(basic["predicted"]["tried"].as_array().unwrap().len(), tried.len());
    assert!(basic["subnetworks"].as_u64().unwrap() > 1);
    // Explicit settings are kept.
    let basic = suggest(&["--device-count", "6", "--coarse-unit", "basic", "--coarse-units", "2"]);
    assert_eq!(basic["coarse_unit"], "basic");
    assert!(basic["coarse_units"].as_array().unwrap().iter().all(|units| units == 2));
    assert!(step(&basic["predicted"]) > least);
    assert!(basic["predicted"]["by_the_papers_rule"].is_null());
    // A limit just below the memory of the best configuration makes memory the bound.
    let memory = |plan: &Value| {
        let all = plan["predicted"]["memory_bytes"].as_array().unwrap();
        all.iter().map(|bytes| bytes.as_f64().unwrap()).fold(0.0, f64::max)
    };
    let limit = format!("{}", 0.999e-9 * memory(&free));
    let bound = suggest(&["--device-count", "6", "--memory-gb", &limit]);
    assert!(memory(&bound) < memory(&free) && step(&bound["predicted"]) > least);
    assert_eq!(bound["predicted"]["bound"], "memory");
    let none = ["plan", "--depth", "56", "--costs", "costs.json", "--suggest"];
    let none = [&none[..], &["--device-count", "6", "--memory-gb", "1e-6"]].concat();
    let output = parareal(folder.path(), &none);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors(&output).contains("the smallest memory that a device needs"),
        "{}",
        errors(&output)
    );
    let text = ["plan", "--depth", "56", "--costs", "costs.json", "--suggest"];
    let text = [&text[..], &["--device-count", "3", "--coarse-unit", "basic"]].concat();
    let text = String::from_utf8(parareal(folder.path(), &text).stdout).unwrap();
    for part in ["suggested", "N_c by the paper's rule", "bound by", "on cpu, 1 thread"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn a_suggestion_for_this_machine_compares_workers_and_threads() {
    let folder = tempfile::tempdir().unwrap();
    let here = ["--depth", "20", "--width", "2", "--batch-size", "2", "--suggest"];
    let found = plan(folder.path(), &here);
    let predicted = &found["predicted"];
    let tried = predicted["tried"].as_array().unwrap();
    let number = |value: &Value, key: &str| value[key].as_u64().unwrap() as usize;
    let cores = std::thread::available_parallelism().unwrap().get();
    for each in tried {
        let (workers, threads) = (number(each, "devices"), number(each, "threads"));
        assert!(workers * threads <= cores, "{each}");
        // One worker has the serial network, and no worker is idle.
        let subnetworks = number(each, "subnetworks");
        assert!(if workers == 1 { subnetworks == 1 } else { subnetworks >= workers }, "{each}");
    }
    let time = |value: &Value| value["step_ms"].as_f64().unwrap();
    let least = |all: &mut dyn Iterator<Item = &Value>| all.map(time).fold(f64::INFINITY, f64::min);
    assert_eq!(time(predicted), least(&mut tried.iter()));
    // The serial network with its fastest number of threads is what speedups are relative to.
    let serial = least(&mut tried.iter().filter(|each| number(each, "devices") == 1));
    assert!(predicted["serial_ms"].as_f64().unwrap() <= serial);
    assert!(tried.iter().any(|each| number(each, "threads") == cores));

    // The suggested command trains that network with those workers.
    let command = predicted["command"].as_str().unwrap();
    let command: Vec<&str> = command.split(' ').skip(1).collect();
    let tiny = ["--limit-train", "4", "--limit-test", "2", "--epochs", "1", "--output", "run"];
    let output = parareal(folder.path(), &[&command[..], &tiny].concat());
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));

    // The workers share the memory of the machine.
    let limit = [&["plan"], &here[..], &["--memory-gb", "1e-6"]].concat();
    let message = errors(&parareal(folder.path(), &limit));
    assert!(message.contains("the smallest memory that a step needs"), "{message}");

    let output = parareal(folder.path(), &[&["plan"], &here[..]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["Predicted step on this machine with", "workers", "threads", "suggested"] {
        assert!(text.contains(part), "{text}");
    }
    let command = text.lines().last().unwrap();
    let start = "train --network resnet-20 --width 2 --subnetworks ";
    assert!(command.contains(start) && command.ends_with("--batch-size 2"), "{command}");
}

#[test]
fn a_timeline_is_a_trace_or_a_picture_and_nothing_is_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, more: &[&str]| {
        let step = ["--subnetworks", "6", "--link-gbps", "100", "--timeline", file];
        parareal(folder.path(), &[&["plan"], &PAPER[..], &step, more].concat())
    };
    for file in ["step.json", "step.svg"] {
        let output = write(file, &[]);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        let there = fs::read(folder.path().join(file)).unwrap();
        let output = write(file, &[]);
        assert_eq!(output.status.code(), Some(2));
        assert!(errors(&output).contains(&format!("{file} already exists")), "{}", errors(&output));
        assert_eq!(fs::read(folder.path().join(file)).unwrap(), there);
        assert_eq!(write(file, &["--overwrite"]).status.code(), Some(0));
    }
    let trace = fs::read_to_string(folder.path().join("step.json")).unwrap();
    let trace: Value = serde_json::from_str(&trace).unwrap();
    let mut ends = 0.0f64;
    let mut kinds = std::collections::BTreeSet::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        assert!(event["pid"].is_u64() && event["name"].is_string(), "{event}");
        match event["ph"].as_str().unwrap() {
            "M" => assert!(event["args"].is_object(), "{event}"),
            "X" => {
                assert!(event["tid"].is_u64());
                let [at, lasts] = ["ts", "dur"].map(|key| event[key].as_f64().unwrap());
                assert!(at >= 0.0 && lasts > 0.0, "{event}");
                ends = ends.max(at + lasts);
                kinds.insert(event["cat"].as_str().unwrap().to_string());
            }
            other => panic!("{other}: {event}"),
        }
    }
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>().join(" "),
        "coarse communication compute waiting"
    );
    let predicted = paper("6", &["--link-gbps", "100"]);
    assert!(
        (ends - 1e3 * predicted["step_ms"].as_f64().unwrap()).abs() <= 0.5,
        "whole microseconds"
    );

    // On an axis of twice the length, the same step takes half the width.
    let width = |file: &str| {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        let document = Document::parse(&text).unwrap();
        let titled = document.descendants().filter(|node| node.has_tag_name("rect"));
        let rects = titled.filter(|rect| rect.has_children());
        let ends = rects.map(|rect| {
            ["x", "width"].map(|key| rect.attribute(key).unwrap().parse::<f64>().unwrap())
        });
        ends.map(|[x, width]| x + width).fold(0.0, f64::max)
    };
    let axis = format!("{}", 2.0 * predicted["step_ms"].as_f64().unwrap());
    assert_eq!(write("half.svg", &["--timeline-ms", &axis]).status.code(), Some(0));
    let (whole, half, left) = (width("step.svg"), width("half.svg"), 76.0);
    assert!(((whole - left) / (half - left) - 2.0).abs() < 0.01, "{whole} and {half}");
    let text = fs::read_to_string(folder.path().join("step.svg")).unwrap();
    for part in ["waiting", "transfer", "coarse, backward", "fine, forward", "device 6"] {
        assert!(text.contains(part), "{part}");
    }
}

/// Transfers and the averaging of gradients overlap the work of a device, so they have their own
/// rows.
#[test]
fn activities_on_a_row_of_a_timeline_do_not_overlap() {
    let folder = tempfile::tempdir().unwrap();
    costs(folder.path());
    let paper = ["--depth", "110", "--coarse-unit", "basic", "--costs", "paper"];
    let table = ["--depth", "56", "--costs", "costs.json"];
    for (number, (network, step)) in [
        (&paper[..], &["--schedule", "paper"][..]),
        (&paper, &["--link-gbps", "1", "--replicas", "2"]),
        (&paper, &["--link-gbps", "0.1", "--link-us", "1000", "--replicas", "5"]),
        (&table, &["--replicas", "3"]),
        (&table, &["--link-gbps", "10", "--link-us", "3", "--replicas", "2", "--defer", "false"]),
        (&table, &["--link-gbps", "1", "--replicas", "2", "--device-count", "2"]),
    ]
    .into_iter()
    .enumerate()
    {
        let cut = ["plan", "--subnetworks", "3", "--timeline"];
        let [trace, picture] = ["json", "svg"].map(|ending| format!("{number}.{ending}"));
        for file in [&trace, &picture] {
            let output = parareal(folder.path(), &[&cut[..], &[file], network, step].concat());
            assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        }
        let rows = assert_rows_do_not_overlap(&folder.path().join(trace));
        let communicate = |kind: &str| rows.iter().any(|row| row.ends_with(kind));
        assert_eq!(communicate(", transfer"), step.contains(&"--link-gbps"), "{step:?}");
        let reduce = step.contains(&"--link-gbps") && step.contains(&"--replicas");
        assert_eq!(communicate(", all-reduce"), reduce, "{step:?}");

        let text = fs::read_to_string(folder.path().join(picture)).unwrap();
        let document = Document::parse(&text).unwrap();
        let spans: Vec<[f64; 4]> = document
            .descendants()
            .filter(|node| node.has_tag_name("rect") && node.has_children())
            .map(|rect| ["x", "width", "y", "height"].map(|key| rect.attribute(key).unwrap()))
            .map(|sides| sides.map(|side| side.parse::<f64>().unwrap()))
            .collect();
        assert!(spans.len() > 6, "{} spans", spans.len());
        for (index, [x, width, y, height]) in spans.iter().enumerate() {
            for [other_x, other_width, other_y, other_height] in &spans[..index] {
                // A span is at least a quarter of a pixel wide, and numbers have two decimals.
                let apart = |a: f64, la: f64, b: f64, lb: f64, room: f64| {
                    a + la <= b + room || b + lb <= a + room
                };
                assert!(
                    apart(*x, *width, *other_x, *other_width, 0.27)
                        || apart(*y, *height, *other_y, *other_height, 0.02),
                    "{network:?} {step:?}"
                );
            }
        }
    }
}

#[test]
fn wrong_use_is_refused_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    costs(folder.path());
    let text = fs::read_to_string(folder.path().join("costs.json")).unwrap();
    let change = |name: &str, from: &str, to: &str| {
        assert!(text.contains(from));
        fs::write(folder.path().join(name), text.replacen(from, to, 1)).unwrap();
    };
    change("negative.json", "\"forward_ms\":1.0", "\"forward_ms\":-1.0");
    change("empty.json", "\"batch\":8", "\"batch\":0");
    change("gray.json", "\"channels\":3", "\"channels\":1");
    change("lacking.json", "\"depthwise\"", "\"basic\"");
    fs::write(folder.path().join("none.json"), "{}").unwrap();
    let file = ["--costs", "costs.json"];
    for (arguments, expected) in [
        (
            &["--device-count", "0", "--costs", "costs.json"][..],
            "invalid value `0` for device-count: expected a number from 1",
        ),
        (&["--device-count", "100000", "--costs", "costs.json"], "from 1 to 10000"),
        (&["--device-count", "x"], "invalid value `x` for --device-count: expected a whole number"),
        (&["--replicas", "0", "--costs", "costs.json"], "invalid value `0` for replicas"),
        (&["--costs", "nowhere.json"], "cannot read costs from nowhere.json: No such file"),
        (&["--costs", "none.json"], "cannot read costs from none.json: missing field `costs`"),
        (&["--costs", "empty.json"], "expected a batch of at least 1 image"),
        (&["--costs", "negative.json"], "has an invalid time for"),
        (
            &["--costs", "lacking.json", "--coarse-unit", "depthwise"],
            "the cost table has no entry for depthwise unit",
        ),
        (
            &["--costs", "costs.json", "--width", "24"],
            "the cost table has no entry for preprocessing to 24×32×32; measure the costs with the same --network, \
             --width, --image-size and --coarse-unit",
        ),
        (
            &["--costs", "costs.json", "--classes", "100"],
            "the cost table is for 10 classes, not 100; pass --classes 10, or measure the costs of this network with \
             `parareal bench --classes 100`",
        ),
        (
            &["--costs", "gray.json"],
            "the cost table is for 1-channel images, not 3-channel ones; measure the costs with `parareal bench --json`",
        ),
        (&["--costs", "paper", "--width", "24"], "expected 16, the width of the paper's Table 2"),
        (&["--width", "0"], "from 1 to 1024"),
        (&["--costs", "paper"], "expected basic without `coarse-units`"),
        (
            &["--costs", "paper", "--coarse-unit", "basic", "--coarse-units", "3"],
            "expected basic without `coarse-units`",
        ),
        (&["--costs", "costs.json", "--coarse-weight-share", "0.5"], "requires --costs paper"),
        (&["--costs", "paper", "--coarse-weight-share", "1.5"], "expected a fraction from 0 to 1"),
        (&["--costs", "paper", "--coarse-weight-share", "-0.5"], "expected a fraction from 0 to 1"),
        (&["--costs", "costs.json", "--batch-size", "8"], "requires --costs measured"),
        (&["--batch-size", "0"], "invalid value `0` for batch-size"),
        // Rejected before anything is measured.
        (
            &["--batch-size", "10000000"],
            "invalid value `10000000` for batch-size: expected a number from 1 to",
        ),
        (&["--device-count", "0"], "invalid value `0` for device-count: expected a number from 1"),
        (
            &["--device-count", "0", "--suggest"],
            "invalid value `0` for device-count: expected a number from 1",
        ),
        (&["--replicas", "0"], "invalid value `0` for replicas: expected a number from 1"),
        (&["--schedule", "paper", "--cuts", "balanced"], "the paper's schedule uses even cuts"),
        (&["--cuts", "balanced", "--depth", "6005"], "for at most 2000 units"),
        (&["--suggest", "--device-count", "2", "--depth", "6005"], "for at most 2000 units"),
        (&["--schedule", "fast"], "expected overlap or paper"),
        (&["--schedule", "paper", "--link-us", "5"], "--link-us requires --schedule overlap"),
        (&["--schedule", "paper", "--replicas", "2"], "--replicas requires --schedule overlap"),
        (&["--schedule", "paper", "--defer", "false"], "--defer requires --schedule overlap"),
        (&[&file[..], &["--schedule", "paper", "--cuts", "balanced"]].concat(), "uses even cuts"),
        (&["--link-gbps", "0"], "invalid value `0` for link-gbps: expected a positive number"),
        (&["--link-gbps", "-1"], "invalid value `-1` for link-gbps"),
        (&["--link-us", "inf"], "invalid value `inf` for link-us"),
        (&["--suggest", "--costs", "paper"], "--suggest requires --device-count"),
        (&["--suggest", "--threads", "2"], "--threads cannot be used with --suggest"),
        (&["--suggest", "--replicas", "2"], "--replicas cannot be used with --suggest"),
        (&["--suggest", "--link-us", "5"], "--link-us cannot be used with --suggest"),
        (&["--suggest", "--link-gbps", "5"], "--link-gbps cannot be used with --suggest"),
        (&["--costs", "costs.json", "--threads", "2"], "--threads requires --costs measured"),
        (&["--threads", "0"], "invalid value `0` for threads"),
        (
            &["--suggest", "--device-count", "2", "--subnetworks", "3"],
            "cannot be used with --subnetworks",
        ),
        (&["--suggest", "--device-count", "2", "--cuts", "1,2"], "cannot be used with --cuts"),
        (&["--memory-gb", "3"], "--memory-gb requires --suggest"),
        (
            &["--memory-gb", "NaN", "--suggest", "--device-count", "2"],
            "invalid value `NaN` for memory-gb",
        ),
        (&["--timeline", "step.png"], "a name that ends in .json"),
        (&["--timeline", "step"], "a name that ends in .json"),
        (&["--overwrite"], "--overwrite requires --timeline"),
        (&["--timeline-ms", "5"], "--timeline-ms requires --timeline FILE.svg"),
        (
            &["--timeline-ms", "5", "--timeline", "step.json"],
            "--timeline-ms requires --timeline FILE.svg",
        ),
        (
            &[&file[..], &["--timeline-ms", "1", "--timeline", "s.svg"]].concat(),
            "the time of the step",
        ),
    ] {
        let output = parareal(folder.path(), &[&["plan"], arguments].concat());
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert!(message.contains(expected), "{arguments:?}: {message}");
        assert_eq!(message.lines().count(), 1, "{arguments:?}: {message}");
    }
    let left = fs::read_dir(folder.path()).unwrap().count();
    assert_eq!(left, 6, "nothing was written");
}
