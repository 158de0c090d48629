//! Weights of serial networks under the names of torchvision and timm.

use std::collections::HashMap;

use burn::tensor::TensorData;
use parareal_models::{Architecture, ImageNetwork};

/// The weights of a file that torchvision or timm has written, under the names of this library.
#[derive(Clone, Debug, Default)]
pub struct Pretrained {
    /// The weights.
    pub tensors: HashMap<String, TensorData>,
    /// Names in the file that the network does not have, in alphabetical order.
    pub left_over: Vec<String>,
    /// True if the file has a class token, which the vision transformers of this library do not have.
    pub has_class_token: bool,
}

/// A tensor of a file as part of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// The tensor of this name.
    Tensor(String),
    /// The tensor of this name, with its elements as a matrix: the weight of a convolution that covers the whole image.
    Matrix(String),
    /// The bias of a convolution before the batch normalization of this name.
    BiasBefore(String),
    /// The position embedding of this name, `[1, patches, channels]`, perhaps with the class token as the first patch.
    Position(String),
    /// The class token.
    ClassToken,
    /// A tensor without effect, such as the number of batches that a normalization has seen.
    Ignored,
}

/// Renames the tensors of a file for a network.
///
/// Convolutions of VGG have a bias in torchvision. The normalization after it subtracts it again, so it is subtracted from
/// the running mean. A class token and its position are left out.
pub fn from_pretrained(net: &ImageNetwork, tensors: HashMap<String, TensorData>) -> Pretrained {
    let mut found = Pretrained::default();
    let mut biases = Vec::new();
    for (name, data) in tensors {
        match part_of(net, &name) {
            Some(Part::Tensor(ours)) => {
                found.tensors.insert(ours, data);
            }
            Some(Part::Matrix(ours)) => {
                let rows = data.shape().as_slice().first().copied().unwrap_or(1);
                let columns = data.num_elements() / rows.max(1);
                found.tensors.insert(ours, with_shape(data, [rows, columns].into()));
            }
            Some(Part::BiasBefore(norm)) => biases.push((format!("{norm}.running_mean"), data)),
            Some(Part::Position(ours)) => {
                found.tensors.insert(ours, position(net, data));
            }
            Some(Part::ClassToken) => found.has_class_token = true,
            Some(Part::Ignored) => {}
            None => found.left_over.push(name),
        }
    }
    for (mean, bias) in biases {
        if let Some(data) = found.tensors.get_mut(&mean) {
            *data = difference(data, &bias);
        }
    }
    found.left_over.sort();
    found
}

/// Returns the part of the network that a tensor of a file belongs to; `None` if there is none.
fn part_of(net: &ImageNetwork, name: &str) -> Option<Part> {
    if name.ends_with(".num_batches_tracked") {
        return Some(Part::Ignored);
    }
    match net.architecture() {
        Architecture::OriginalResNet { .. } => resnet(net, name),
        Architecture::Vgg16 => vgg16(name),
        Architecture::Vit { .. } => vit(name),
        _ => None,
    }
}

/// Names of torchvision's and timm's ResNets, which are the same.
fn resnet(net: &ImageNetwork, name: &str) -> Option<Part> {
    let (module, parameter) = name.rsplit_once('.')?;
    let tensor = |module: &str| Some(Part::Tensor(format!("{module}.{parameter}")));
    match module {
        "conv1" => return tensor("preprocessing.conv"),
        "bn1" => return tensor("preprocessing.norm"),
        "fc" => return tensor("postprocessing.linear"),
        _ => {}
    }
    let (stage, rest) = module.strip_prefix("layer")?.split_once('.')?;
    let (index, layer) = rest.split_once('.')?;
    let (stage, index): (usize, usize) = (stage.parse().ok()?, index.parse().ok()?);
    let units = net.stage_units();
    let before = units.get(..stage.checked_sub(1)?)?;
    if index >= *units.get(before.len())? {
        return None;
    }
    let unit = before.iter().sum::<usize>() + index;
    let layer = match layer {
        "downsample.0" => "projection".to_owned(),
        "downsample.1" => "projection_norm".to_owned(),
        _ => match layer.split_at_checked(layer.len().checked_sub(1)?)? {
            ("conv", "1" | "2" | "3") => layer.to_owned(),
            ("bn", number @ ("1" | "2" | "3")) => format!("norm{number}"),
            _ => return None,
        },
    };
    tensor(&format!("units.{unit}.{layer}"))
}

/// Positions of the convolutions of VGG-16 in the list `features` of torchvision and timm; the normalization follows.
const VGG16_FEATURES: [usize; 13] = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40];

/// Names of torchvision's and timm's VGG-16 with batch normalization.
fn vgg16(name: &str) -> Option<Part> {
    let (module, parameter) = name.rsplit_once('.')?;
    let tensor = |module: &str| Some(Part::Tensor(format!("{module}.{parameter}")));
    let matrix = |module: &str| match parameter {
        "weight" => Some(Part::Matrix(format!("{module}.{parameter}"))),
        _ => tensor(module),
    };
    match module {
        "classifier.0" => return tensor("postprocessing.linear1"),
        "classifier.3" => return tensor("postprocessing.linear2"),
        "classifier.6" | "head.fc" => return tensor("postprocessing.linear3"),
        "pre_logits.fc1" => return matrix("postprocessing.linear1"),
        "pre_logits.fc2" => return matrix("postprocessing.linear2"),
        _ => {}
    }
    let position: usize = module.strip_prefix("features.")?.parse().ok()?;
    let at = |position: usize| VGG16_FEATURES.iter().position(|&conv| conv == position);
    // A unit begins with the normalization of the convolution before.
    let norm = |conv: usize| match conv {
        12 => "postprocessing.norm".to_owned(),
        _ => format!("units.{conv}.norm"),
    };
    match (at(position), position.checked_sub(1).and_then(at)) {
        (Some(conv), _) if parameter == "bias" => Some(Part::BiasBefore(norm(conv))),
        (Some(0), _) => tensor("preprocessing.conv"),
        (Some(conv), _) => tensor(&format!("units.{}.conv", conv - 1)),
        (None, Some(conv)) => tensor(&norm(conv)),
        (None, None) => None,
    }
}

/// Names of timm's vision transformers.
fn vit(name: &str) -> Option<Part> {
    match name {
        "cls_token" => return Some(Part::ClassToken),
        "pos_embed" => return Some(Part::Position("preprocessing.position".into())),
        _ => {}
    }
    let (module, parameter) = name.rsplit_once('.')?;
    let tensor = |module: &str| Some(Part::Tensor(format!("{module}.{parameter}")));
    match module {
        "patch_embed.proj" => return Some(Part::Tensor(format!("preprocessing.{parameter}"))),
        "norm" => return tensor("postprocessing.norm"),
        "head" => return tensor("postprocessing.linear"),
        _ => {}
    }
    let (index, layer) = module.strip_prefix("blocks.")?.split_once('.')?;
    let index: usize = index.parse().ok()?;
    let layer = match layer {
        "norm1" | "norm2" => layer,
        "attn.qkv" => "qkv",
        "attn.proj" => "proj",
        "mlp.fc1" => "linear1",
        "mlp.fc2" => "linear2",
        _ => return None,
    };
    tensor(&format!("units.{index}.{layer}"))
}

/// Returns a position embedding `[rows, columns, channels]`, without the position of a class token. An embedding of another
/// number of patches keeps its shape, so that it is reported as one that does not fit.
fn position(net: &ImageNetwork, data: TensorData) -> TensorData {
    let image = net.image_at(0);
    let patches = image.pixels() * image.channels;
    let shape = vec![image.size, image.size, image.channels];
    match data.num_elements() {
        found if found == patches => with_shape(data, shape),
        found if found == patches + image.channels => {
            let values: Vec<f32> = data.iter().skip(image.channels).collect();
            TensorData::new(values, shape)
        }
        _ => data,
    }
}

fn with_shape(data: TensorData, shape: Vec<usize>) -> TensorData {
    let dtype = data.dtype();
    TensorData::from_bytes(data.into_bytes(), shape, dtype)
}

/// Returns `a - b`, or `a` if the lengths differ.
fn difference(a: &TensorData, b: &TensorData) -> TensorData {
    if a.num_elements() != b.num_elements() {
        return a.clone();
    }
    let values: Vec<f32> = a.iter::<f32>().zip(b.iter::<f32>()).map(|(a, b)| a - b).collect();
    TensorData::new(values, a.shape().clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(network: &str, size: usize, name: &str) -> Option<String> {
        let net = ImageNetwork::sized(network.parse().unwrap(), size).unwrap();
        match part_of(&net, name)? {
            Part::Tensor(name) | Part::Matrix(name) | Part::Position(name) => Some(name),
            Part::BiasBefore(norm) => Some(format!("bias before {norm}")),
            Part::ClassToken | Part::Ignored => Some("-".into()),
        }
    }

    #[test]
    fn names_of_other_libraries_are_found() {
        for (network, size, theirs, ours) in [
            ("resnet50", 224, "conv1.weight", "preprocessing.conv.weight"),
            ("resnet50", 224, "layer1.0.bn2.running_var", "units.0.norm2.running_var"),
            ("resnet50", 224, "layer2.0.downsample.1.bias", "units.3.projection_norm.bias"),
            ("resnet152", 224, "layer4.2.conv3.weight", "units.49.conv3.weight"),
            ("resnet101", 224, "fc.bias", "postprocessing.linear.bias"),
            ("vgg16", 224, "features.0.weight", "preprocessing.conv.weight"),
            ("vgg16", 224, "features.0.bias", "bias before units.0.norm"),
            ("vgg16", 224, "features.1.running_mean", "units.0.norm.running_mean"),
            ("vgg16", 224, "features.3.weight", "units.0.conv.weight"),
            ("vgg16", 224, "features.40.weight", "units.11.conv.weight"),
            ("vgg16", 224, "features.41.weight", "postprocessing.norm.weight"),
            ("vgg16", 224, "classifier.3.bias", "postprocessing.linear2.bias"),
            ("vgg16", 224, "pre_logits.fc1.weight", "postprocessing.linear1.weight"),
            ("vgg16", 224, "features.1.num_batches_tracked", "-"),
            ("vit-tiny", 224, "blocks.11.mlp.fc2.weight", "units.11.linear2.weight"),
            ("vit-tiny", 224, "patch_embed.proj.bias", "preprocessing.bias"),
            ("vit-tiny", 224, "cls_token", "-"),
        ] {
            assert_eq!(renamed(network, size, theirs).as_deref(), Some(ours), "{theirs}");
        }
        for (network, name) in [
            ("resnet50", "layer1.3.conv1.weight"),
            ("resnet50", "layer0.0.conv1.weight"),
            ("resnet50", "layer5.0.conv1.weight"),
            ("resnet50", "layer1.0.conv4.weight"),
            ("resnet50", "layer1.0.é.weight"),
            ("vgg16", "features.2.weight"),
            ("vgg16", "features"),
            ("vit-tiny", "fc_norm.weight"),
            ("resnet-20", "conv1.weight"),
        ] {
            let size = if network == "resnet-20" { 32 } else { 224 };
            assert_eq!(renamed(network, size, name), None, "{name}");
        }
    }

    #[test]
    fn a_bias_is_subtracted_from_the_running_mean_after_it() {
        let net = ImageNetwork::sized(Architecture::Vgg16, 224).unwrap();
        let vector = |values: [f32; 2]| TensorData::from(values);
        let tensors = [
            ("features.0.bias".to_owned(), vector([0.5, -1.0])),
            ("features.1.running_mean".to_owned(), vector([2.0, 3.0])),
            ("other".to_owned(), vector([0.0, 0.0])),
        ];
        let found = from_pretrained(&net, tensors.into());
        assert_eq!(found.tensors["units.0.norm.running_mean"], vector([1.5, 4.0]));
        assert_eq!((found.tensors.len(), found.left_over), (1, vec!["other".to_owned()]));
    }

    #[test]
    fn the_position_of_a_class_token_is_left_out() {
        let net = ImageNetwork::sized("vit-tiny-16".parse().unwrap(), 32).unwrap().with_width(2);
        let values: Vec<f32> = (0..10).map(|value| value as f32).collect();
        let tensors = [
            ("pos_embed".to_owned(), TensorData::new(values, [1, 5, 2])),
            ("cls_token".to_owned(), TensorData::new(vec![0.0f32; 2], [1, 1, 2])),
        ];
        let found = from_pretrained(&net, tensors.into());
        assert!(found.has_class_token && found.left_over.is_empty());
        let position = &found.tensors["preprocessing.position"];
        assert_eq!(position.shape().as_slice(), [2, 2, 2]);
        let values: Vec<f32> = position.iter().collect();
        assert_eq!(values, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    }
}
