//! Encoding and decoding of safetensors files.

use std::collections::HashMap;

use burn::tensor::{Bytes, DType, TensorData};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

/// Supported element types in Burn and in safetensors.
const TYPES: [(DType, Dtype); 4] = [
    (DType::F32, Dtype::F32),
    (DType::F64, Dtype::F64),
    (DType::I64, Dtype::I64),
    (DType::U64, Dtype::U64),
];

/// Encodes the named tensors, in the order of the names.
pub(crate) fn encode(
    names: &[String],
    tensors: &HashMap<String, TensorData>,
) -> Result<Vec<u8>, String> {
    let views = names.iter().map(|name| {
        let data = tensors.get(name).ok_or_else(|| format!("tensor `{name}` not found"))?;
        let known = TYPES.into_iter().find(|(dtype, _)| *dtype == data.dtype());
        let (_, dtype) = known.ok_or_else(|| {
            format!("tensor `{name}` has the unsupported type {:?}", data.dtype())
        })?;
        let view = TensorView::new(dtype, data.shape().as_slice().to_vec(), data.as_bytes());
        Ok((name, view.map_err(|error| error.to_string())?))
    });
    let views = views.collect::<Result<Vec<_>, String>>()?;
    safetensors::serialize(views, None).map_err(|error| error.to_string())
}

/// Decodes a file and adds its tensors to `tensors`.
pub(crate) fn decode(
    bytes: &[u8],
    tensors: &mut HashMap<String, TensorData>,
) -> Result<(), String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
    for (name, view) in file.iter() {
        let known = TYPES.into_iter().find(|(_, dtype)| *dtype == view.dtype());
        let Some((dtype, _)) = known else {
            return Err(format!("tensor `{name}` has the unsupported type {:?}", view.dtype()));
        };
        let bytes = Bytes::from_bytes_vec(view.data().to_vec());
        let data = TensorData::from_bytes(bytes, view.shape().to_vec(), dtype);
        tensors.insert(name.to_string(), data);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_round_trip() {
        let numbers: [usize; 0] = [];
        let tensors = HashMap::from([
            ("a".to_string(), TensorData::new(vec![1.0f32, f32::MIN_POSITIVE, -0.0], [3, 1])),
            ("b".to_string(), TensorData::new(vec![7u64], numbers)),
            ("c".to_string(), TensorData::new(vec![0.1f64, 0.2], [2])),
        ]);
        let names = ["c", "a", "b"].map(String::from);
        let bytes = encode(&names, &tensors).unwrap();
        let mut found = HashMap::new();
        decode(&bytes, &mut found).unwrap();
        assert_eq!(found, tensors);
        assert!(encode(&["d".to_string()], &tensors).unwrap_err().contains("`d`"));
        for cut in [0, 7, 40, bytes.len() - 1] {
            assert!(decode(&bytes[..cut], &mut HashMap::new()).is_err());
        }
    }
}
