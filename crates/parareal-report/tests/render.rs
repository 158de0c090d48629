//! Pages from made-up runs.

use std::fs;
use std::path::{Path, PathBuf};

use parareal_report::{ReportError, render};
use serde_json::Value;

/// Writes the folder of a run with two epochs of a few steps each.
fn made(parent: &Path, name: &str, subnetworks: usize, steps: usize) -> PathBuf {
    let folder = parent.join(name);
    fs::create_dir_all(&folder).unwrap();
    let config = format!("dataset = \"shapes\"\ndepth = 20\nsubnetworks = {subnetworks}\n");
    fs::write(folder.join("config.toml"), config).unwrap();
    let mut lines = String::new();
    for epoch in 1..=2 {
        for step in (epoch - 1) * steps + 1..=epoch * steps {
            lines += &format!(
                "{{\"event\":\"step\",\"epoch\":{epoch},\"step\":{step},\"loss\":{},\"error\":0.5,\
                 \"learning_rate\":0.1,\"images_per_second\":200.0}}\n",
                2.0 / step as f64
            );
        }
        lines += &format!(
            "{{\"event\":\"epoch\",\"epoch\":{epoch},\"train_loss\":1.0,\"train_error\":0.5,\
             \"test_loss\":0.9,\"test_error\":{},\"seconds\":12.5}}\n",
            0.4 / epoch as f64
        );
    }
    let waiting = match subnetworks {
        // As written by older versions.
        1 => "",
        _ => ",\"waiting_for_worker\":0.15,\"waiting_for_neighbors\":0.05",
    };
    let usage = format!("{{\"computing\":0.7,\"coarse\":0.1,\"waiting\":0.2{waiting}}}");
    let usage = vec![usage; subnetworks].join(",");
    let workers = match subnetworks {
        1 => "",
        _ => {
            ",\"workers\":[{\"subnetworks\":[1,2],\"busy\":0.9},{\"subnetworks\":[3],\"busy\":0.8}]"
        }
    };
    lines +=
        &format!("{{\"event\":\"end\",\"seconds\":30.5,\"subnetworks\":[{usage}]{workers}}}\n");
    fs::write(folder.join("metrics.jsonl"), lines).unwrap();
    folder
}

/// Returns the text between two marks of a page.
fn between<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
    let (_, after) = page.split_once(start).expect(start);
    after.split_once(end).expect(end).0
}

fn data(page: &str) -> Value {
    let json = between(page, "<script type=\"application/json\" id=\"data\">", "</script>");
    serde_json::from_str(json).unwrap()
}

/// Checks that elements are opened and closed, and that nothing is loaded from elsewhere.
fn check_structure(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    assert!(page.ends_with("</html>\n"));
    for element in ["html", "body", "main", "style", "title", "h1"] {
        assert_eq!(page.matches(&format!("<{element}")).count(), 1, "{element}");
        assert_eq!(page.matches(&format!("</{element}>")).count(), 1, "{element}");
    }
    assert_eq!(page.matches("<script").count(), 2);
    assert_eq!(page.matches("</script>").count(), 2);
    assert!(page.contains("default-src 'none'"));
    for outside in ["<link", "src=\"", "@import", "url(http", "fetch(", "import("] {
        assert!(!page.contains(outside), "{outside}");
    }
    // The name of an XML namespace is an address that is not opened.
    let addresses = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!addresses.contains("http://") && !addresses.contains("https://"));
    assert!(!page.contains("{{"), "a mark was left");
}

#[test]
fn one_run_becomes_a_page() {
    let parent = tempfile::tempdir().unwrap();
    let run = made(parent.path(), "first", 1, 10);
    let page = render(&[&run]).unwrap();
    check_structure(&page);
    assert_eq!(between(&page, "<title>", "</title>"), "first · parareal report");
    let data = data(&page);
    let run = &data["runs"][0];
    assert_eq!(run["name"], "first");
    assert_eq!(run["steps"]["total"], 20);
    assert_eq!(run["steps"]["loss"]["mean"][1], 1.0);
    assert!(run["steps"]["loss"].get("low").is_none());
    assert_eq!(run["epochs"][1]["step"], 20);
    assert_eq!(run["summary"]["test_error"], 0.2);
    assert_eq!(run["summary"]["best"]["epoch"], 2);
    assert_eq!(run["summary"]["seconds"], 30.5);
    assert_eq!(run["end"]["subnetworks"][0]["coarse"], 0.1);
    assert!(run["evaluation"].is_null());
    assert_eq!(data["settings"][1]["key"], "depth");
    assert_eq!((&run["subnetworks"], &run["of_images"]), (&1.into(), &true.into()));
    assert_eq!(run["summary"]["best"]["by"], "test");
}

#[test]
fn several_runs_are_compared() {
    let parent = tempfile::tempdir().unwrap();
    let runs = [made(parent.path(), "one", 1, 10), made(parent.path(), "three", 3, 10)];
    let page = render(&runs).unwrap();
    check_structure(&page);
    let data = data(&page);
    let differing: Vec<_> = data["settings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|row| row["differs"] == true)
        .map(|row| (row["key"].as_str().unwrap(), row["values"].clone()))
        .collect();
    assert_eq!(differing, [("subnetworks", serde_json::json!(["1", "3"]))]);
    let end = &data["runs"][1]["end"];
    assert_eq!(end["subnetworks"].as_array().unwrap().len(), 3);
    assert_eq!(end["subnetworks"][2]["waiting_for_worker"], 0.15);
    assert_eq!(end["workers"][0]["subnetworks"], serde_json::json!([1, 2]));
    // An older run does not distinguish the kinds of waiting.
    assert!(data["runs"][0]["end"]["subnetworks"][0]["waiting_for_worker"].is_null());
    for part in ["waiting for worker", "waiting for neighbors", "of its subnetworks"] {
        assert!(page.contains(part), "{part}");
    }
    assert_eq!(page, render(&runs).unwrap(), "the same folders give the same page");
}

/// Writes the folder of a run like those of `parareal_train::Trainer`, with data that has this checksum.
fn trained(parent: &Path, name: &str, checksum: Option<&str>) -> PathBuf {
    let folder = parent.join(name);
    let checkpoint = folder.join("checkpoints/step-00000020");
    fs::create_dir_all(&checkpoint).unwrap();
    let config = "units = 6\ncuts = [2, 4]\nepochs = 2\nbest = \"highest accuracy\"\n";
    fs::write(folder.join("config.toml"), config).unwrap();
    let mut lines = String::new();
    for epoch in 1..=2 {
        for step in 10 * (epoch - 1) + 1..=10 * epoch {
            lines += &format!(
                "{{\"event\":\"step\",\"epoch\":{epoch},\"step\":{step},\"loss\":0.5,\
                 \"learning_rate\":0.1,\"images_per_second\":200.0}}\n"
            );
        }
        let value = 0.5 / epoch as f64;
        lines += &format!(
            "{{\"event\":\"epoch\",\"epoch\":{epoch},\"train_loss\":1.0,\"test_loss\":null,\
             \"test_error\":null,\"test_top5_error\":null,\"validation_loss\":{value},\
             \"metrics\":{{\"accuracy\":{value}}},\"seconds\":12.5}}\n"
        );
    }
    fs::write(folder.join("metrics.jsonl"), lines).unwrap();
    if let Some(checksum) = checksum {
        let data = serde_json::json!({
            "training-samples": 60, "first-batch": checksum,
            "validation-samples": 20, "first-validation-batch": checksum,
        });
        let manifest = serde_json::json!({
            "format_version": 5, "step": 20, "epoch": 2, "epoch_steps": 10,
            "epoch_tally": {"images": 60, "loss": 30.0}, "epoch_seconds": 12.5,
            "metrics_bytes": 10, "configuration": {}, "data": data, "files": [],
        });
        fs::write(checkpoint.join("manifest.json"), manifest.to_string()).unwrap();
    }
    folder
}

#[test]
fn runs_of_any_network_are_compared_on_the_same_data_only() {
    let parent = tempfile::tempdir().unwrap();
    let made = |name: &str, checksum| trained(parent.path(), name, checksum);
    let runs = [made("a", Some("ab")), made("b", Some("ab")), made("c", Some("cd"))];
    let page = render(&[&runs[..], &[made("d", None)]].concat()).unwrap();
    check_structure(&page);
    let data = data(&page);
    let run = &data["runs"][0];
    assert_eq!((&run["subnetworks"], &run["of_images"]), (&3.into(), &false.into()));
    let summary = &run["summary"];
    assert_eq!(summary["validation_loss"], 0.25);
    assert_eq!(summary["metrics"]["accuracy"], 0.25);
    assert!(summary["train_error"].is_null());
    let best = &summary["best"];
    assert_eq!((&best["epoch"], &best["metric"]), (&1.into(), &"accuracy".into()));
    assert_eq!((&best["value"], &best["highest"]), (&0.5.into(), &true.into()));
    let group = |run: usize, samples: &str| data["runs"][run]["images"][samples].clone();
    for samples in ["training", "validation"] {
        assert!(group(0, samples).is_string());
        assert_eq!(group(0, samples), group(1, samples));
        assert_ne!(group(0, samples), group(2, samples));
        assert!(group(3, samples).is_null() && group(0, "test").is_null());
    }
}

#[test]
fn long_runs_stay_small() {
    let parent = tempfile::tempdir().unwrap();
    let run = made(parent.path(), "long", 1, 60_000);
    let page = render(&[run]).unwrap();
    let data = data(&page);
    let steps = &data["runs"][0]["steps"];
    assert_eq!((&steps["total"], &steps["per_point"]), (&120_000.into(), &60.into()));
    assert_eq!(steps["step"].as_array().unwrap().len(), 2000);
    assert_eq!(steps["loss"]["high"][0], 2.0);
    assert!(page.len() < 400_000, "{} bytes", page.len());
}

#[test]
fn an_unfinished_run_is_shown() {
    let parent = tempfile::tempdir().unwrap();
    let run = made(parent.path(), "killed", 1, 10);
    let path = run.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let cut = text.lines().take(15).collect::<Vec<_>>().join("\n") + "\n{\"event\":\"st";
    fs::write(&path, cut).unwrap();
    let shown = data(&render(&[&run]).unwrap());
    assert_eq!(shown["runs"][0]["steps"]["total"], 14);
    assert_eq!(shown["runs"][0]["summary"]["finished"], false);
    fs::write(&path, "").unwrap();
    let page = render(&[&run]).unwrap();
    check_structure(&page);
    assert_eq!(data(&page)["runs"][0]["steps"]["total"], 0);
}

#[test]
fn the_evaluation_of_the_shown_error_is_shown_and_an_early_end_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let run = made(parent.path(), "run", 1, 10);
    fs::create_dir(run.join("evaluations")).unwrap();
    // The best epoch was evaluated again after the last one.
    for (epoch, step, error) in [(2, 20, 0.2), (1, 10, 0.4)] {
        let evaluation = serde_json::json!({
            "epoch": epoch, "step": step, "test_error": error, "images": 5,
            "class_names": ["cat", "dog"], "confusion": [[step, 0], [0, 1]],
        });
        let path = run.join(format!("evaluations/step-{step:08}.json"));
        fs::write(path, evaluation.to_string()).unwrap();
    }
    let shown = data(&render(&[&run]).unwrap());
    let shown = &shown["runs"][0];
    assert_eq!(shown["evaluation"]["step"], 20);
    assert_eq!(shown["evaluation"]["test_error"], shown["summary"]["test_error"]);
    assert_eq!(shown["evaluation"]["confusion"][0][0], 20);
    assert_eq!(shown["images"]["test"], "dataset = \"shapes\", 5 images");

    let path = run.join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let steps = text.lines().take(15).collect::<Vec<_>>().join("\n");
    for how in ["diverged", "interrupted"] {
        fs::write(&path, format!("{steps}\n{{\"event\":\"{how}\",\"step\":14}}\n")).unwrap();
        let shown = data(&render(&[&run]).unwrap());
        let summary = &shown["runs"][0]["summary"];
        assert_eq!(summary["finished"], false);
        assert_eq!(summary["early_end"], serde_json::json!({"how": how, "step": 14}));
        // The run now ends before step 20.
        assert_eq!(shown["runs"][0]["evaluation"]["step"], 10);
    }
}

#[test]
fn texts_from_files_are_not_markup() {
    let parent = tempfile::tempdir().unwrap();
    let wild = "</script><script>alert(1)</script><!-- {{script}} & \u{2028}";
    let run = made(parent.path(), "a<b>&amp;", 1, 4);
    let config = toml::to_string(&toml::Table::from_iter([
        ("dataset".to_owned(), wild.into()),
        (wild.to_owned(), "x".into()),
    ]));
    fs::write(run.join("config.toml"), config.unwrap()).unwrap();
    let evaluation = serde_json::json!({
        "epoch": 2, "step": 8, "test_error": 0.5, "class_names": [wild, "dog"],
        "confusion": [[1, 1], [0, 2]],
        "worst": [{"index": 3, "label": 0, "answer": 1, "probability": 0.75, "png": "iVBORw0K"}],
    });
    fs::write(run.join("evaluation.json"), evaluation.to_string()).unwrap();
    let page = render(&[run]).unwrap();
    check_structure(&page.replace("{{script}}", ""));
    assert!(!page.contains("alert(1)</script>"));
    assert_eq!(between(&page, "<title>", "</title>"), "a&lt;b&gt;&amp;amp; · parareal report");
    let data = data(&page);
    let keys: Vec<_> =
        data["settings"].as_array().unwrap().iter().map(|row| row["key"].as_str()).collect();
    assert!(keys.contains(&Some(wild)));
    assert_eq!(data["runs"][0]["evaluation"]["class_names"][0], wild);
}

#[test]
fn invalid_runs_are_refused_in_one_line() {
    let parent = tempfile::tempdir().unwrap();
    let message = |result: Result<String, ReportError>| {
        let error = result.unwrap_err();
        assert!(error.is_bad_input(), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
        error.to_string()
    };
    assert!(message(render::<PathBuf>(&[])).contains("at least one run"));
    let none = parent.path().join("none");
    assert!(message(render(&[&none])).contains("it has no config.toml"));
    let run = made(parent.path(), "run", 1, 4);
    assert!(message(render(&[&run, &run])).contains("given twice"));
    fs::write(run.join("evaluation.json"), "{").unwrap();
    assert!(message(render(&[&run])).contains("evaluation.json: line 1: "));
    fs::write(run.join("metrics.jsonl"), "{\"event\":\"end\",\"seconds\":1}\nwhat\n").unwrap();
    assert!(message(render(&[&run])).contains("metrics.jsonl: line 2: expected one JSON object"));
    fs::remove_file(run.join("metrics.jsonl")).unwrap();
    assert!(message(render(&[&run])).contains("it has no metrics.jsonl"));
}
