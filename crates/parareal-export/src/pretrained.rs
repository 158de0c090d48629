//! Weights of serial networks under the names of torchvision and timm.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use burn::tensor::TensorData;
use parareal_models::{Architecture, HeadKind, ImageNetwork};

use crate::ImportError;

/// Treatment of a file whose last linear layer has another number of classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherClasses {
    /// Refuse the file.
    Refuse,
    /// Keep the initial values of the last linear layer.
    NewClassifier,
}

/// The weights of a file, under the names of this library.
#[derive(Clone, Debug)]
pub struct Pretrained {
    /// All weights and running statistics of the serial network.
    pub tensors: HashMap<String, TensorData>,
    /// True if the last linear layer has its initial values.
    pub has_new_classifier: bool,
    /// True if the file has a class token, which the vision transformers of this library do not have.
    pub has_class_token: bool,
}

/// Differences between the tensors of a file and those of a network. Names are those of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// The network.
    pub network: String,
    /// Tensors that the file does not have.
    pub missing: Vec<String>,
    /// Tensors of another shape: name, expected shape, and shape in the file.
    pub shapes: Vec<(String, Vec<usize>, Vec<usize>)>,
    /// Tensors of the file that the network does not have.
    pub left_over: Vec<String>,
}

/// Largest number of tensors of each kind in a message.
const LISTED: usize = 10;

impl Differences {
    fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.shapes.is_empty() && self.left_over.is_empty()
    }
}

impl std::error::Error for Differences {}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { network, missing, shapes, left_over } = self;
        write!(f, "expected the weights of {network} under the names of torchvision or timm")?;
        let names =
            |names: &[String]| names.iter().map(|name| name.escape_debug().to_string()).collect();
        let shapes = shapes.iter().map(|(name, expected, found)| {
            format!("{} of shape {found:?} instead of {expected:?}", name.escape_debug())
        });
        let kinds: [(&str, Vec<String>); 3] = [
            ("missing", names(missing)),
            ("with another shape", shapes.collect()),
            ("not part of this network", names(left_over)),
        ];
        for (kind, items) in kinds {
            let Some(first) =
                items.get(..items.len().min(LISTED)).filter(|first| !first.is_empty())
            else {
                continue;
            };
            write!(f, "; {kind}: {}", first.join(", "))?;
            if items.len() > LISTED {
                write!(f, " and {} more", items.len() - LISTED)?;
            }
        }
        Ok(())
    }
}

/// The tensors of other libraries that correspond to a tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    /// Its names in torchvision and timm. A file has one of them.
    names: Vec<String>,
    /// The bias of the convolution before a batch normalization, to be subtracted from its running mean. A file
    /// has all such biases or none.
    bias: Option<String>,
}

impl Source {
    fn named(name: String) -> Self {
        Self { names: vec![name], bias: None }
    }
}

/// Renames the tensors of a file for the serial network. `initial` has the names and shapes of its tensors, and the initial
/// values of the last linear layer.
///
/// Convolutions of VGG have a bias in torchvision. The normalization after it subtracts it again, so it is subtracted from
/// the running mean. A class token and its position are left out, and so are numbers of batches that a normalization has
/// seen.
///
/// # Errors
/// If torchvision and timm do not have this network, or the tensors of the file are not those of the network
/// ([`ImportError::Differences`]).
pub fn from_pretrained(
    net: &ImageNetwork,
    initial: &HashMap<String, TensorData>,
    mut tensors: HashMap<String, TensorData>,
    other_classes: OtherClasses,
) -> Result<Pretrained, ImportError> {
    tensors.retain(|name, _| !name.ends_with(".num_batches_tracked"));
    let has_class_token = is_vit(net) && tensors.remove("cls_token").is_some();
    let mut differences = Differences { network: net.name(), ..Differences::default() };
    let mut found = HashMap::with_capacity(initial.len());
    let (mut biases, mut classifier) = (Vec::new(), BTreeMap::new());
    // In alphabetical order, so that messages are reproducible.
    for (name, own) in initial.iter().collect::<BTreeMap<_, _>>() {
        let Source { names, bias } =
            source(net, name).ok_or_else(|| ImportError::NoCounterpart { network: net.name() })?;
        biases.extend(bias.map(|bias| (bias, name)));
        let Some((theirs, data)) = names.iter().find_map(|name| tensors.remove_entry(name)) else {
            differences.missing.extend(names.into_iter().next());
            continue;
        };
        let data = adapted(net, name, data);
        let shapes = [own, &data].map(|data| data.shape().as_slice().to_vec());
        let [expected, shape] = shapes;
        if expected != shape && is_classifier(net, name) {
            classifier.insert(theirs, [expected, shape]);
        } else if expected != shape {
            differences.shapes.push((theirs, expected, shape));
        }
        found.insert(name.clone(), data);
    }
    subtract_biases(&biases, &mut tensors, &mut found, &mut differences);
    // Weight and bias of a classifier for other classes differ in their number alone.
    let rows: Vec<_> = classifier.values().map(|[_, shape]| shape.first().copied()).collect();
    let is_other = classifier.values().all(|[own, shape]| own.get(1..) == shape.get(1..));
    let has_new_classifier = rows.len() == 2
        && is_other
        && rows[0] == rows[1]
        && other_classes == OtherClasses::NewClassifier;
    for (theirs, [expected, shape]) in classifier {
        if !has_new_classifier {
            differences.shapes.push((theirs, expected, shape));
        }
    }
    if has_new_classifier {
        let own = initial.iter().filter(|(name, _)| is_classifier(net, name));
        found.extend(own.map(|(name, data)| (name.clone(), data.clone())));
    }
    if tensors.keys().any(|name| initial.contains_key(name)) {
        return Err(ImportError::NoMetadata);
    }
    differences.left_over.extend(tensors.into_keys());
    differences.left_over.sort();
    match differences.is_empty() {
        true => Ok(Pretrained { tensors: found, has_new_classifier, has_class_token }),
        false => Err(ImportError::Differences(Box::new(differences))),
    }
}

/// Returns the number of classes of a file and the number of channels of its images; `None` for what cannot be told.
pub fn pretrained_sizes(
    net: &ImageNetwork,
    tensors: &HashMap<String, TensorData>,
) -> (Option<usize>, Option<usize>) {
    let length = |name: &str, dimension: usize| {
        let names = source(net, name)?.names;
        let data = names.iter().find_map(|name| tensors.get(name))?;
        data.shape().as_slice().get(dimension).copied()
    };
    let first = match net.architecture() {
        Architecture::Vit { .. } => "preprocessing.weight",
        _ => "preprocessing.conv.weight",
    };
    (length(&format!("{}.bias", classifier(net)), 0), length(first, 1))
}

fn is_vit(net: &ImageNetwork) -> bool {
    matches!(net.architecture(), Architecture::Vit { .. })
}

/// The name of the last linear layer.
fn classifier(net: &ImageNetwork) -> &'static str {
    match net.head_kind() {
        HeadKind::Classifier => "postprocessing.linear3",
        _ => "postprocessing.linear",
    }
}

fn is_classifier(net: &ImageNetwork, name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(module, _)| module == classifier(net))
}

/// Returns the tensors of other libraries that correspond to a tensor of a serial network; `None` if they do not have this
/// network.
fn source(net: &ImageNetwork, name: &str) -> Option<Source> {
    match net.architecture() {
        Architecture::OriginalResNet { .. } => resnet(net, name).map(Source::named),
        Architecture::Vgg16 if net.head_kind() == HeadKind::Classifier => vgg16(name),
        Architecture::Vit { .. } => vit(name).map(Source::named),
        _ => None,
    }
}

/// The name in torchvision's and timm's ResNets, which are the same.
fn resnet(net: &ImageNetwork, name: &str) -> Option<String> {
    let (module, parameter) = name.rsplit_once('.')?;
    let theirs = match module {
        "preprocessing.conv" => "conv1".to_owned(),
        "preprocessing.norm" => "bn1".to_owned(),
        "postprocessing.linear" => "fc".to_owned(),
        _ => {
            let (unit, layer) = module.strip_prefix("units.")?.split_once('.')?;
            let mut index: usize = unit.parse().ok()?;
            let mut stage = 0;
            while index >= *net.stage_units().get(stage)? {
                index -= net.stage_units()[stage];
                stage += 1;
            }
            let layer = match layer {
                "projection" => "downsample.0".to_owned(),
                "projection_norm" => "downsample.1".to_owned(),
                _ => layer.replace("norm", "bn"),
            };
            format!("layer{}.{index}.{layer}", stage + 1)
        }
    };
    Some(format!("{theirs}.{parameter}"))
}

/// Positions of the convolutions of VGG-16 in the list `features` of torchvision and timm; the normalization follows.
const VGG16_FEATURES: [usize; 13] = [0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40];

/// The names in torchvision's and timm's VGG-16 with batch normalization.
fn vgg16(name: &str) -> Option<Source> {
    let (module, parameter) = name.rsplit_once('.')?;
    let names = |modules: [&str; 2]| Source {
        names: modules.map(|module| format!("{module}.{parameter}")).into(),
        bias: None,
    };
    let conv = |index: usize| {
        Some(Source::named(format!("features.{}.{parameter}", VGG16_FEATURES.get(index)?)))
    };
    // A unit begins with the normalization of the convolution before.
    let norm = |index: usize| {
        let position = VGG16_FEATURES.get(index)?;
        let bias = (parameter == "running_mean").then(|| format!("features.{position}.bias"));
        Some(Source { names: vec![format!("features.{}.{parameter}", position + 1)], bias })
    };
    match module {
        "preprocessing.conv" => conv(0),
        "postprocessing.norm" => norm(12),
        "postprocessing.linear1" => Some(names(["classifier.0", "pre_logits.fc1"])),
        "postprocessing.linear2" => Some(names(["classifier.3", "pre_logits.fc2"])),
        "postprocessing.linear3" => Some(names(["classifier.6", "head.fc"])),
        _ => {
            let (unit, layer) = module.strip_prefix("units.")?.split_once('.')?;
            let unit: usize = unit.parse().ok()?;
            if layer == "norm" { norm(unit) } else { conv(unit + 1) }
        }
    }
}

/// The name in timm's vision transformers.
fn vit(name: &str) -> Option<String> {
    if name == "preprocessing.position" {
        return Some("pos_embed".into());
    }
    let (module, parameter) = name.rsplit_once('.')?;
    let theirs = match module {
        "preprocessing" => "patch_embed.proj".to_owned(),
        "postprocessing.norm" => "norm".to_owned(),
        "postprocessing.linear" => "head".to_owned(),
        _ => {
            let (unit, layer) = module.strip_prefix("units.")?.split_once('.')?;
            let layer = match layer {
                "qkv" => "attn.qkv",
                "proj" => "attn.proj",
                "linear1" => "mlp.fc1",
                "linear2" => "mlp.fc2",
                norm => norm,
            };
            format!("blocks.{unit}.{layer}")
        }
    };
    Some(format!("{theirs}.{parameter}"))
}

/// Converts a tensor to the layout of this library: the weight of a linear layer that is a convolution in timm, and a
/// position embedding. A tensor of an unexpected size is returned as it is.
fn adapted(net: &ImageNetwork, name: &str, data: TensorData) -> TensorData {
    if name == "preprocessing.position" {
        return position(net, data);
    }
    match data.shape().as_slice() {
        &[rows, columns, height, width]
            if name.starts_with("postprocessing.linear") && name.ends_with(".weight") =>
        {
            with_shape(data, vec![rows, columns * height * width])
        }
        _ => data,
    }
}

/// Returns a position embedding `[rows, columns, channels]`, without the position of a class token.
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

/// Subtracts the biases of convolutions from the running means of the normalizations after them.
fn subtract_biases(
    biases: &[(String, &String)],
    tensors: &mut HashMap<String, TensorData>,
    found: &mut HashMap<String, TensorData>,
    differences: &mut Differences,
) {
    let has_biases = biases.iter().any(|(bias, _)| tensors.contains_key(bias));
    for (bias, mean) in biases.iter().filter(|_| has_biases) {
        let Some(values) = tensors.remove(bias) else {
            differences.missing.push(bias.clone());
            continue;
        };
        // A missing mean is listed as well.
        let Some(mean) = found.get_mut(*mean) else { continue };
        if values.shape() != mean.shape() {
            let shapes = [&*mean, &values].map(|data| data.shape().as_slice().to_vec());
            let [expected, shape] = shapes;
            differences.shapes.push((bias.clone(), expected, shape));
            continue;
        }
        let sums: Vec<f32> =
            mean.iter::<f32>().zip(values.iter::<f32>()).map(|(mean, bias)| mean - bias).collect();
        *mean = TensorData::new(sums, mean.shape().clone());
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use parareal::net::{Init, PararealNetwork};

    use super::*;

    fn network(name: &str, size: usize) -> ImageNetwork {
        ImageNetwork::sized(name.parse().unwrap(), size).unwrap()
    }

    #[test]
    fn names_of_other_libraries_are_found() {
        for (name, theirs, ours) in [
            ("resnet50", "conv1.weight", "preprocessing.conv.weight"),
            ("resnet50", "bn1.running_mean", "preprocessing.norm.running_mean"),
            ("resnet50", "layer1.0.bn2.running_var", "units.0.norm2.running_var"),
            ("resnet50", "layer2.0.downsample.0.weight", "units.3.projection.weight"),
            ("resnet50", "layer2.0.downsample.1.bias", "units.3.projection_norm.bias"),
            ("resnet152", "layer4.2.conv3.weight", "units.49.conv3.weight"),
            ("resnet101", "fc.bias", "postprocessing.linear.bias"),
            ("vgg16", "features.0.weight", "preprocessing.conv.weight"),
            ("vgg16", "features.1.running_var", "units.0.norm.running_var"),
            ("vgg16", "features.3.weight", "units.0.conv.weight"),
            ("vgg16", "features.40.weight", "units.11.conv.weight"),
            ("vgg16", "features.41.weight", "postprocessing.norm.weight"),
            ("vgg16", "classifier.3.bias", "postprocessing.linear2.bias"),
            ("vit-tiny", "blocks.11.mlp.fc2.weight", "units.11.linear2.weight"),
            ("vit-tiny", "blocks.2.norm1.bias", "units.2.norm1.bias"),
            ("vit-tiny", "patch_embed.proj.bias", "preprocessing.bias"),
            ("vit-tiny", "pos_embed", "preprocessing.position"),
        ] {
            let source = source(&network(name, 224), ours).unwrap();
            assert_eq!(source.names[0], theirs, "{ours}");
        }
        let head = source(&network("vgg16", 224), "postprocessing.linear1.weight").unwrap();
        assert_eq!(head.names, ["classifier.0.weight", "pre_logits.fc1.weight"]);
        let mean = source(&network("vgg16", 224), "units.0.norm.running_mean").unwrap();
        assert_eq!(mean.bias.as_deref(), Some("features.0.bias"));
        for (name, size) in [("resnet-20", 32), ("vgg16", 32)] {
            assert_eq!(source(&network(name, size), "preprocessing.conv.weight"), None);
        }
    }

    #[test]
    fn the_position_of_a_class_token_is_left_out() {
        let net = network("vit-tiny-16", 32).with_width(2);
        let values: Vec<f32> = (0..10).map(|value| value as f32).collect();
        let position = position(&net, TensorData::new(values, [1, 5, 2]));
        assert_eq!(position.shape().as_slice(), [2, 2, 2]);
        let values: Vec<f32> = position.iter().collect();
        assert_eq!(values, [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]);
    }

    /// The initial weights of a serial network with few channels, and a file with the names of the first of the other
    /// libraries, whose values are larger by one.
    fn file(
        name: &str,
        size: usize,
    ) -> (ImageNetwork, HashMap<String, TensorData>, HashMap<String, TensorData>) {
        let net = network(name, size).with_width(2).with_classes(3);
        let cuts = net.default_cuts(1).unwrap();
        let built = PararealNetwork::build(&net, &cuts, &Init::new(1, &Device::flex())).unwrap();
        let initial = built.state_dict().into_tensors();
        let mut file = HashMap::new();
        for (name, data) in &initial {
            let Source { names, bias } = source(&net, name).unwrap();
            let values: Vec<f32> = data.iter().map(|value: f32| value + 1.0).collect();
            file.insert(names[0].clone(), TensorData::new(values, data.shape().clone()));
            if let Some(bias) = bias {
                file.insert(
                    bias,
                    TensorData::new(vec![0.5f32; data.num_elements()], data.shape().clone()),
                );
            }
        }
        file.insert("norm.num_batches_tracked".into(), TensorData::from([1i64]));
        (net, initial, file)
    }

    #[test]
    fn weights_of_other_libraries_are_read() {
        for (name, size) in [("resnet50", 32), ("vgg16", 224), ("vit-tiny-8", 32)] {
            let (net, initial, file) = file(name, size);
            let found = from_pretrained(&net, &initial, file, OtherClasses::Refuse).unwrap();
            assert!(!found.has_new_classifier && !found.has_class_token);
            assert_eq!(found.tensors.len(), initial.len());
            for (name, data) in &found.tensors {
                // The bias of a convolution of VGG is subtracted from the running mean after it.
                let bias = if source(&net, name).unwrap().bias.is_some() { 0.5 } else { 0.0 };
                let mut values = data.iter::<f32>().zip(initial[name].iter::<f32>());
                assert!(values.all(|(found, own)| found == own + 1.0 - bias), "{name}");
            }
        }
    }

    #[test]
    fn a_classifier_for_other_classes_is_new_if_that_is_allowed() {
        let (net, initial, mut file) = file("resnet50", 32);
        let features = initial["postprocessing.linear.weight"].shape().as_slice()[1];
        let zeros = |shape: &[usize]| TensorData::zeros::<f32, _>(shape.to_vec());
        file.insert("fc.weight".into(), zeros(&[7, features]));
        file.insert("fc.bias".into(), zeros(&[7]));
        let read =
            |file: &HashMap<_, _>, other| from_pretrained(&net, &initial, file.clone(), other);
        let found = read(&file, OtherClasses::NewClassifier).unwrap();
        assert!(found.has_new_classifier);
        let name = "postprocessing.linear.weight";
        assert_eq!(found.tensors[name], initial[name]);
        assert!(read(&file, OtherClasses::Refuse).is_err());
        // Neither fits the network nor is for other classes.
        for (name, shape) in
            [("fc.weight", vec![7, features + 1]), ("fc.bias", vec![6]), ("fc.bias", vec![3])]
        {
            let mut file = file.clone();
            file.insert(name.into(), zeros(&shape));
            let error = read(&file, OtherClasses::NewClassifier).unwrap_err().to_string();
            assert!(error.contains("with another shape: fc."), "{error}");
        }
    }

    #[test]
    fn differences_are_listed_under_the_names_of_the_file() {
        let (net, initial, file) = file("vgg16", 224);
        let read = |change: &dyn Fn(&mut HashMap<String, TensorData>)| {
            let mut file = file.clone();
            change(&mut file);
            from_pretrained(&net, &initial, file, OtherClasses::Refuse).unwrap_err().to_string()
        };
        let error = read(&|file| {
            file.remove("features.3.bias");
            file.remove("classifier.0.weight");
            file.insert("features.0.bias".into(), TensorData::from([0f32; 3]));
            file.insert("other\n".into(), TensorData::from([0f32]));
        });
        assert_eq!(
            error,
            "expected the weights of vgg16-w2-224px under the names of torchvision or timm; missing: classifier.0.weight, \
             features.3.bias; with another shape: features.0.bias of shape [3] instead of [2]; not part of this network: \
             other\\n"
        );
        let many = read(&|file| file.retain(|name, _| name.starts_with("features.0.")));
        assert!(many.ends_with(" more"), "{many}");
        // Names of this library without metadata.
        let own = from_pretrained(&net, &initial, initial.clone(), OtherClasses::Refuse);
        assert_eq!(own.unwrap_err(), ImportError::NoMetadata);
        let resnet = network("resnet-20", 32);
        let other = from_pretrained(&resnet, &initial, file.clone(), OtherClasses::Refuse);
        assert!(
            other.unwrap_err().to_string().starts_with("torchvision and timm have no resnet-20")
        );
    }
}
