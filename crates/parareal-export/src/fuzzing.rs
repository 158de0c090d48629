//! Readers of file contents for the fuzz targets and the tests of their corpora. Not part of the public
//! interface.

use parareal_models::ImageNetwork;

use crate::{ImportError, from_pretrained, from_safetensors, read_tensors};

/// Reads a file of weights: one that this crate has written, or one of torchvision or timm.
pub fn weights(contents: &[u8]) -> Result<(), ImportError> {
    match from_safetensors(contents) {
        Err(ImportError::NoMetadata) => {}
        other => return other.map(drop),
    }
    for network in ["resnet50", "vgg16", "vit-tiny"] {
        let network = network.parse().expect("a name of a network");
        let net = ImageNetwork::sized(network, 224).expect("a size that all networks accept");
        from_pretrained(&net, read_tensors(contents)?);
    }
    Ok(())
}
