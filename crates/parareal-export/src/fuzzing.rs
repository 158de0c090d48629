//! Readers of file contents for the fuzz targets and the tests of their corpora. Not part of the public
//! interface.

use std::collections::HashMap;

use burn::tensor::TensorData;
use parareal_models::ImageNetwork;

use crate::{ImportError, OtherClasses, from_pretrained, from_safetensors, read_tensors};

/// Some tensors of each network with names in torchvision or timm. All have two elements here.
const TENSORS: [(&str, [&str; 4]); 3] = [
    (
        "resnet50",
        [
            "preprocessing.conv.weight",
            "units.0.norm2.running_var",
            "units.3.projection_norm.bias",
            "postprocessing.linear.bias",
        ],
    ),
    (
        "vgg16",
        [
            "units.0.norm.running_mean",
            "units.11.conv.weight",
            "postprocessing.linear3.weight",
            "postprocessing.linear3.bias",
        ],
    ),
    (
        "vit-tiny",
        [
            "preprocessing.position",
            "units.11.linear2.weight",
            "postprocessing.linear.weight",
            "postprocessing.linear.bias",
        ],
    ),
];

/// Reads a file of weights: one that this crate has written, or one of torchvision or timm.
pub fn weights(contents: &[u8]) -> Result<(), ImportError> {
    match from_safetensors(contents) {
        Err(ImportError::NoMetadata) => {}
        other => return other.map(drop),
    }
    let mut last = Ok(());
    for (network, names) in TENSORS {
        let network = network.parse().expect("a name of a network");
        let net = ImageNetwork::sized(network, 224).expect("a size that all networks accept");
        let own = names.map(|name| (name.to_owned(), TensorData::from([0f32; 2])));
        let tensors = read_tensors(contents)?;
        let other = OtherClasses::NewClassifier;
        last = from_pretrained(&net, &HashMap::from(own), tensors, other).map(drop);
        if last.is_ok() {
            break;
        }
    }
    last
}
