//! The safetensors format.

use std::collections::HashMap;

use burn::tensor::{Bytes, DType, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::metadata::VERSION;
use crate::{ExportError, ImportError, TrainedNetwork};

/// Returns all parameters and running statistics as a safetensors file, under their names in a checkpoint, with
/// [metadata](TrainedNetwork::metadata). Layouts are PyTorch's.
///
/// # Errors
/// If a weight does not consist of 32-bit floats.
pub fn to_safetensors(trained: &TrainedNetwork) -> Result<Vec<u8>, ExportError> {
    let mut views = Vec::new();
    for (name, data) in trained.weights.tensors() {
        let shape = data.shape().as_slice().to_vec();
        let view = match data.dtype() {
            DType::F32 => TensorView::new(Dtype::F32, shape, data.as_bytes()).ok(),
            _ => None,
        };
        let wrong = || ExportError::Weight { name: name.clone(), what: "is not of 32-bit floats" };
        views.push((name, view.ok_or_else(wrong)?));
    }
    let metadata: HashMap<String, String> = trained.metadata().into_iter().collect();
    let bytes = safetensors::serialize(views, Some(metadata));
    let bytes = bytes.expect("names are unique, and the views have the lengths of their shapes");
    Ok(sorted(bytes))
}

/// Sorts the header of a file. The metadata have another order each time, because they come from a hash map.
///
/// A header is its length in eight bytes, then JSON, then spaces.
fn sorted(mut bytes: Vec<u8>) -> Vec<u8> {
    let Some((length, rest)) = bytes.split_first_chunk_mut() else { return bytes };
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    let Some(header) = rest.get_mut(..length) else { return bytes };
    let text = serde_json::from_slice(header).map(|json: serde_json::Value| json.to_string());
    if let Ok(text) = text
        && text.len() <= header.len()
    {
        header.fill(b' ');
        header[..text.len()].copy_from_slice(text.as_bytes());
    }
    bytes
}

/// Reads a file that [`to_safetensors`] has written. Names and shapes of the tensors are not compared with the network,
/// but a network with more parameters than the file is refused.
///
/// # Errors
/// If the content is not a safetensors file, or its metadata are missing or not valid.
pub fn from_safetensors(bytes: &[u8]) -> Result<TrainedNetwork, ImportError> {
    let broken = |error: safetensors::SafeTensorError| ImportError::Format(error.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let own = header.metadata().as_ref().filter(|metadata| metadata.contains_key(VERSION));
    // Before the tensors are read: those of other programs are read under other names.
    let metadata = own.ok_or(ImportError::NoMetadata)?;
    TrainedNetwork::from_metadata(metadata, read_tensors(bytes)?)
}

/// Reads the tensors of a safetensors file as 32-bit floats. Numbers of batches that a normalization has seen, integers of
/// PyTorch, are left out.
///
/// # Errors
/// If the content is not a safetensors file, or another tensor does not consist of floats of 32 or 16 bits.
pub fn read_tensors(bytes: &[u8]) -> Result<HashMap<String, TensorData>, ImportError> {
    let broken = |error: safetensors::SafeTensorError| ImportError::Format(error.to_string());
    let file = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut tensors = HashMap::new();
    for (name, view) in file.iter() {
        let dtype = match view.dtype() {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::I64 if name.ends_with(".num_batches_tracked") => continue,
            other => {
                return Err(ImportError::Type { name: name.into(), found: format!("{other:?}") });
            }
        };
        let bytes = Bytes::from_bytes_vec(view.data().to_vec());
        let data = TensorData::from_bytes(bytes, view.shape().to_vec(), dtype);
        tensors.insert(name.to_owned(), data.convert_dtype(DType::F32));
    }
    Ok(tensors)
}
