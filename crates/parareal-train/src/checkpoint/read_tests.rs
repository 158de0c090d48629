//! Checkpoints with wrong contents but correct checksums.

use std::path::PathBuf;

use super::super::tensors::encode;
use super::*;

/// Returns a safetensors file with one tensor.
fn shard(name: &str, shape: &[usize]) -> Vec<u8> {
    let data = TensorData::new(vec![0.5_f32; shape.iter().product()], shape.to_vec());
    encode(&[name.to_owned()], &HashMap::from([(name.to_owned(), data)])).unwrap()
}

/// Reads a checkpoint with these files and a matching manifest, in which `from` is replaced by
/// `to`.
fn read_changed(weights: &[u8], optimizer: &[u8], from: &str, to: &str) -> Result<Saved, String> {
    let entry = |holds: &str, bytes: &[u8]| {
        let (sum, len) = (sha256(bytes), bytes.len());
        format!(
            r#"{{"subnetwork":1,"holds":"{holds}","name":"subnetwork-01.{holds}.safetensors","bytes":{len},"sha256":"{sum}","tensors":1}}"#
        )
    };
    let manifest = format!(
        r#"{{"format_version":{FORMAT_VERSION},"step":7,"epoch":2,"epoch_steps":3,"epoch_tally":
        {{"images":48,"wrong":40,"loss":110.5}},"epoch_seconds":0.25,"metrics_bytes":9,
        "configuration":{{"seed":1}},"data":{{"name":"made"}},"units":3,"cuts":[1],"files":[{},{}]}}"#,
        entry("weights", weights),
        entry("optimizer", optimizer),
    );
    assert!(manifest.contains(from));
    let manifest = manifest.replacen(from, to, 1);
    let load = |path: &Path, _| {
        Ok(match path.to_str().unwrap() {
            "folder/manifest.json" => manifest.clone().into_bytes(),
            "folder/manifest.sha256" => sum_of(manifest.as_bytes()).into_bytes(),
            "folder/subnetwork-01.weights.safetensors" => weights.to_vec(),
            "folder/subnetwork-01.optimizer.safetensors" => optimizer.to_vec(),
            other => panic!("{other} was opened"),
        })
    };
    read_with(&PathBuf::from("folder"), &load, None, &|_| Ok(())).map_err(|error| {
        assert!(error.is_bad_input());
        assert_eq!(error.to_string().lines().count(), 1, "{error}");
        error.to_string()
    })
}

#[test]
fn contents_that_no_run_can_have_saved_are_refused() {
    let (weights, optimizer) = (shard("w", &[2, 3]), shard("w.velocity", &[2, 3]));
    let saved = read_changed(&weights, &optimizer, "{", "{").unwrap();
    assert_eq!((saved.position.step, saved.weights.len(), saved.optimizer.len()), (7, 1, 1));
    assert_eq!(saved.cuts.positions(), [1]);
    assert_eq!(saved.data["name"].as_str(), Some("made"));
    let sum = sha256(&weights);
    for (from, to, expected) in [
        (
            "\"format_version\":5",
            "\"format_version\":2",
            "the checkpoint has format 2, but this version",
        ),
        ("\"step\":7", "\"step\":0", "impossible step or epoch"),
        ("\"epoch\":2", "\"epoch\":8", "impossible step or epoch"),
        ("\"epoch_steps\":3", "\"epoch_steps\":8", "impossible step or epoch"),
        ("\"step\":7", "\"step\":18446744073709551615", "impossible step or epoch"),
        ("\"wrong\":40", "\"wrong\":49", "impossible number of samples or times of the epoch"),
        (
            "\"epoch_seconds\":0.25",
            "\"epoch_seconds\":-1.0",
            "impossible number of samples or times",
        ),
        (
            "\"images\":48,\"wrong\":40",
            "\"images\":0,\"wrong\":0",
            "impossible number of samples or times",
        ),
        ("\"cuts\":[1]", "\"cuts\":[3]", "manifest.json is damaged: "),
        (",\"cuts\":[1]", "", "it does not record the cuts"),
        ("subnetwork-01.w", "../../secret.w", "it names a file `../../secret.weights"),
        ("\"subnetwork\":1", "\"subnetwork\":2", "it names a file `subnetwork-01.weights"),
        (&sum[..], "0000", "it does not match the SHA-256 in the manifest"),
        ("\"tensors\":1", "\"tensors\":2", "it has 1 tensors instead of 2"),
        ("\"holds\":\"weights\"", "\"holds\":\"we\\nights\"", "unknown variant `we\\nights`"),
    ] {
        let Err(message) = read_changed(&weights, &optimizer, from, to) else {
            panic!("{to} was accepted");
        };
        assert!(message.contains(expected), "{to}: {message}");
    }
}

#[test]
fn optimizer_state_fits_its_parameter() {
    for (name, shape) in
        [("w.velocity", &[3, 2][..]), ("w.velocity", &[3]), ("v.velocity", &[2, 3]), ("w", &[2, 3])]
    {
        let weights = shard("w", &[2, 3]);
        let message = read_changed(&weights, &shard(name, shape), "{", "{").err().unwrap();
        assert!(
            message.contains(&format!("`{name}` does not belong to any parameter")),
            "{message}"
        );
    }
    for (name, shape) in
        [("w.velocity", &[2, 3][..]), ("w.row_mean", &[2, 1]), ("w.momentum.moment_2", &[2, 3])]
    {
        let weights = shard("w", &[2, 3]);
        assert!(read_changed(&weights, &shard(name, shape), "{", "{").is_ok(), "{name}");
    }
}
