//! The ONNX format.

mod graph;
mod layers;
mod network;
mod proto;
mod units;

use prost::Message;

use crate::{ExportError, TrainedNetwork};
use graph::{Graph, Value};
use proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// Version of the format's intermediate representation.
const IR_VERSION: i64 = 8;
/// Version of the operator set: the first one with layer normalization.
const OPSET: i64 = 17;
/// Name of the input.
const INPUT: &str = "images";
/// Name of the output.
const OUTPUT: &str = "scores";

/// Values of the images that an exported network receives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnnxInput {
    /// Normalized images, as in training.
    #[default]
    Normalized,
    /// Images with values from 0 to 1, which the network normalizes.
    Unnormalized,
}

/// Returns the evaluation network as an ONNX file, with operator set 17. The input `images` has the shape `[batch,
/// channels, height, width]`, the output `scores` `[batch, classes]`. Batch normalization has its running statistics,
/// dropout is left out, and the metadata are those of a safetensors file.
///
/// # Errors
/// If a weight is missing, has an unexpected shape, or is not used.
pub fn to_onnx(trained: &TrainedNetwork, input: OnnxInput) -> Result<Vec<u8>, ExportError> {
    let TrainedNetwork { net, weights, images, .. } = trained;
    let mut graph = Graph::new(&net.name(), weights.tensors());
    let shape = [net.in_channels(), net.image_size(), net.image_size()];
    let mut value = graph.input(INPUT, &shape);
    if input == OnnxInput::Unnormalized {
        value = normalize(&mut graph, &images.mean, &images.deviation, &value);
    }
    let scores = network::network(&mut graph, net, weights.cuts(), &value)?;
    graph.output(OUTPUT, &[images.class_names.len()], scores);
    let (graph, unused) = graph.finish();
    if let Some(name) = unused.into_iter().next() {
        return Err(ExportError::Weight { name, what: "does not belong to the network" });
    }
    let metadata = trained.metadata().into_iter();
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "parareal".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata
            .map(|(key, value)| StringStringEntryProto { key, value })
            .collect(),
    };
    Ok(model.encode_to_vec())
}

/// Subtracts the mean of each channel and divides by its standard deviation.
fn normalize(graph: &mut Graph<'_>, mean: &[f32], deviation: &[f32], images: &Value) -> Value {
    let shape = [1, mean.len(), 1, 1];
    let mean = graph.floats("normalization.mean", &shape, mean);
    let deviation = graph.floats("normalization.deviation", &shape, deviation);
    let centered = graph.subtract("normalization.centered", images, &mean);
    graph.node("normalization", "Div", &[&centered, &deviation], &[])
}
