//! The readers of files, given what a file holds: for the fuzz targets and the test that goes through
//! their corpora. No part of the interface.

use std::collections::HashMap;
use std::path::Path;

use parareal_data::in_hexadecimal;
use sha2::{Digest, Sha256};

use crate::checkpoint::{self, shard};
use crate::{Config, Place, Settings, TrainError};

/// A file with these contents is read as a configuration, and completed.
///
/// # Panics
/// Where a configuration is written as one that is read otherwise.
pub fn settings(contents: &[u8]) -> Result<(), TrainError> {
    let path = Path::new("config.toml");
    let complete = Config::resolve(Settings::parse(path, contents)?, &Place::alone())?.settings();
    let again = Settings::parse(path, complete.to_toml().as_bytes())?;
    assert_eq!(again, complete);
    Ok(())
}

/// As a safetensors file of a checkpoint.
pub fn safetensors(contents: &[u8]) -> Result<(), TrainError> {
    shard::decode(contents, &mut HashMap::new())
        .map_err(|error| TrainError::weights(Path::new("weights.safetensors"), error))
}

/// As a checkpoint: the manifest, a zero byte, and what each of its files holds. Where the manifest
/// has the words `BYTES` and `SHA256`, the file's length and checksum are put, which no fuzzer would
/// guess.
pub fn checkpoint(contents: &[u8]) -> Result<(), TrainError> {
    let zero = contents.iter().position(|&byte| byte == 0).unwrap_or(contents.len());
    let (manifest, file) = contents.split_at(zero);
    let file = file.get(1..).unwrap_or_default();
    let sum = in_hexadecimal(&Sha256::digest(file));
    let manifest = String::from_utf8_lossy(manifest);
    let manifest = manifest.replace("SHA256", &sum).replace("BYTES", &file.len().to_string());
    let load = |path: &Path, _| {
        Ok(match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => manifest.clone().into_bytes(),
            Some("sha256") => checkpoint::sum_of(manifest.as_bytes()).into_bytes(),
            _ => file.to_vec(),
        })
    };
    checkpoint::read_with(Path::new("step-00000001"), &load, None).map(drop)
}
