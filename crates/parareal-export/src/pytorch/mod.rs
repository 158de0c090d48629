//! A Python module with the network for PyTorch.

use parareal::net::FeedForward;
use parareal_models::{Component, HeadKind, Image, ImageNetwork, PreprocessingKind, UnitKind};

use crate::metadata::json;
use crate::{ExportError, TrainedNetwork};

/// A class of the Python module: its name and its source.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Class {
    name: &'static str,
    source: &'static str,
}

macro_rules! class {
    ($name:literal, $file:literal) => {
        Class { name: $name, source: include_str!($file) }
    };
}

/// Returns a Python module that builds the network in PyTorch. It needs no other file than `model.safetensors`, as
/// [`to_safetensors`](crate::to_safetensors) writes it, beside it: `load()` loads the weights with `strict=True`.
///
/// # Errors
/// If the network has units of a kind that the module has no class for.
pub fn to_pytorch(trained: &TrainedNetwork) -> Result<String, ExportError> {
    let TrainedNetwork { net, weights, images, .. } = trained;
    let cuts = weights.cuts();
    let mut module = Module::default();
    let first = module.preprocessing(net, net.image_at(0));
    let units: Vec<String> = (0..net.units())
        .map(|unit| module.unit(net.unit_component(unit)))
        .collect::<Result<_, _>>()?;
    let mut interfaces = Vec::new();
    for interface in cuts.interfaces() {
        let preprocessing = module.preprocessing(net, net.image_at(interface.position));
        let coarse = net.coarse_components(&interface).into_iter();
        let coarse: Vec<String> = coarse.map(|unit| module.unit(unit)).collect::<Result<_, _>>()?;
        interfaces.push(format!("({preprocessing}, [{}])", coarse.join(", ")));
    }
    let head = module.head(net);

    let (name, size) = (net.name(), net.image_size());
    let (channels, subnetworks) = (net.in_channels(), cuts.subnetworks());
    let cut = match subnetworks {
        1 => "without cuts".to_owned(),
        _ => format!("as a parareal network of {subnetworks} subnetworks"),
    };
    let classes: Vec<&str> = module.classes.iter().map(|class| class.source.trim()).collect();
    let constants = [
        "# The images: their size, channels and black border in pixels, and their normalization.".into(),
        format!("IMAGE_SIZE, CHANNELS, PADDING = {size}, {channels}, {}", images.padding),
        format!("MEAN, DEVIATION = {}, {}", json(&images.mean), json(&images.deviation)),
        format!("CLASS_NAMES = {}", json(&images.class_names)),
        String::new(),
        "# The modules with their arguments: channels before and after, and for units the stride.".into(),
        format!("PREPROCESSING = {first}"),
        format!("UNITS = [\n{}]", repeated(&units)),
        format!("POSTPROCESSING = {head}"),
        "# The number of units before each cut; the preprocessing and the coarse network of each interface.".into(),
        format!("CUTS = {}", json(cuts.positions())),
        format!("INTERFACES = [\n{}]", repeated(&interfaces)),
    ];
    let version = env!("CARGO_PKG_VERSION");
    Ok(format!(
        "\"\"\"{name} {cut}, written by parareal {version}.\n\n    \
         network = load()                     # with the weights of model.safetensors, in evaluation mode\n    \
         scores = network(normalize(images))  # images [batch, {channels}, {size}, {size}] with values from 0 to 1\n\n\
         `python model.py IMAGE ..` classifies image files.\n\"\"\"\n\n{}\n\n\n{}\n\n\n{}\n\n\n{}",
        include_str!("base.py").trim(),
        classes.join("\n\n\n"),
        constants.join("\n"),
        include_str!("network.py"),
    ))
}

/// The classes that a network needs.
#[derive(Default)]
struct Module {
    classes: Vec<Class>,
}

impl Module {
    /// Returns the tuple of a class and its arguments.
    fn call(&mut self, class: Class, arguments: &[usize]) -> String {
        if !self.classes.contains(&class) {
            self.classes.push(class);
        }
        let arguments: Vec<String> = arguments.iter().map(usize::to_string).collect();
        format!("({}, {})", class.name, arguments.join(", "))
    }

    fn preprocessing(&mut self, net: &ImageNetwork, to: Image) -> String {
        const CONVOLUTION: Class = class!("PoolingConvolution", "pooling_convolution.py");
        let [before, after] = [net.in_channels(), to.channels];
        match net.preprocessing_kind(to) {
            PreprocessingKind::First => self.call(CONVOLUTION, &[before, after, 3, 0]),
            PreprocessingKind::Interface { poolings } => {
                self.call(CONVOLUTION, &[before, after, 1, poolings])
            }
            PreprocessingKind::Stem => self.call(class!("Stem", "stem.py"), &[before, after]),
            PreprocessingKind::Patches { patch } => {
                let class = class!("PatchEmbedding", "patch_embedding.py");
                self.call(class, &[before, after, patch, to.size])
            }
        }
    }

    fn unit(&mut self, component: Component) -> Result<String, ExportError> {
        let Component::Unit { kind, from, to } = component else { return Ok(String::new()) };
        let class = match kind {
            UnitKind::Basic => class!("BasicUnit", "basic.py"),
            UnitKind::Bottleneck => class!("BottleneckUnit", "bottleneck.py"),
            UnitKind::Half | UnitKind::Quarter => class!("NarrowUnit", "narrow.py"),
            UnitKind::Depthwise => class!("DepthwiseUnit", "depthwise.py"),
            UnitKind::Coarsened => class!("CoarsenedUnit", "coarsened.py"),
            UnitKind::Grouped => class!("GroupedUnit", "grouped.py"),
            UnitKind::None => class!("SkipUnit", "skip_only.py"),
            UnitKind::Vgg => class!("VggUnit", "vgg.py"),
            UnitKind::OriginalBottleneck => {
                class!("OriginalBottleneckUnit", "original_bottleneck.py")
            }
            UnitKind::Transformer => class!("TransformerUnit", "transformer.py"),
            _ => return Err(ExportError::Unit(kind)),
        };
        let divisor = match kind {
            UnitKind::Half => Some(2),
            UnitKind::Quarter => Some(4),
            _ => None,
        };
        let arguments =
            [from.channels, to.channels, from.size / to.size].into_iter().chain(divisor);
        Ok(self.call(class, &arguments.collect::<Vec<_>>()))
    }

    fn head(&mut self, net: &ImageNetwork) -> String {
        let (channels, classes) = (net.last_channels(), net.classes());
        match net.head_kind() {
            HeadKind::Preactivation => self
                .call(class!("PreactivationHead", "preactivation_head.py"), &[channels, classes]),
            HeadKind::MaxPooled => {
                self.call(class!("MaxPooledHead", "max_pooled_head.py"), &[channels, classes])
            }
            HeadKind::Classifier => {
                let class = class!("ClassifierHead", "classifier_head.py");
                self.call(class, &[channels, net.classifier_features(), classes])
            }
            HeadKind::Mean => self.call(class!("MeanHead", "mean_head.py"), &[channels, classes]),
            HeadKind::LayerNorm => {
                self.call(class!("LayerNormHead", "layer_norm_head.py"), &[channels, classes])
            }
        }
    }
}

/// Returns the lines of a list, with equal neighbors as one line.
fn repeated(items: &[String]) -> String {
    let runs = items.chunk_by(|a, b| a == b);
    let lines = runs.map(|run| match run {
        [item] => format!("    {item},\n"),
        [item, ..] => format!("    *{} * [{item}],\n", run.len()),
        [] => String::new(),
    });
    lines.collect()
}
