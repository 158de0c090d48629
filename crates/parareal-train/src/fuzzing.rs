//! Readers of file contents for the fuzz targets and the tests of their corpora. Not part of the public
//! interface.

use std::collections::HashMap;
use std::path::Path;

use crate::TrainError;
use crate::checkpoint::{self, CheckManifest, sha256, tensors};

/// Reads a safetensors file of a checkpoint.
pub fn safetensors(contents: &[u8]) -> Result<(), TrainError> {
    tensors::decode(contents, &mut HashMap::new())
        .map_err(|error| TrainError::weights(Path::new("weights.safetensors"), error))
}

/// Reads a checkpoint: the manifest, a zero byte, and the contents of each of its files. The words `BYTES` and
/// `SHA256` in the manifest are replaced by the file's length and checksum, which a fuzzer could not guess.
pub fn checkpoint(contents: &[u8], check: CheckManifest<'_>) -> Result<(), TrainError> {
    let zero = contents.iter().position(|&byte| byte == 0).unwrap_or(contents.len());
    let (manifest, file) = contents.split_at(zero);
    let file = file.get(1..).unwrap_or_default();
    let manifest = String::from_utf8_lossy(manifest);
    let manifest =
        manifest.replace("SHA256", &sha256(file)).replace("BYTES", &file.len().to_string());
    let load = |path: &Path, _| {
        Ok(match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => manifest.clone().into_bytes(),
            Some("sha256") => checkpoint::sum_of(manifest.as_bytes()).into_bytes(),
            _ => file.to_vec(),
        })
    };
    checkpoint::read_with(Path::new("step-00000001"), &load, None, check).map(drop)
}
