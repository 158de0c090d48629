//! A parareal network as operations, in the form of a chain.

use std::ops::Range;

use parareal::net::{Cuts, FeedForward};
use parareal_models::{Component, HeadKind, Image, ImageNetwork, PreprocessingKind};

use super::graph::{Graph, Value};
use super::units::unit;
use crate::ExportError;

/// Height and width to which the head of VGG-16 pools its images.
const CLASSIFIER_SIZE: usize = 7;

/// Adds the network, from the normalized images to the class scores.
pub(super) fn network(
    graph: &mut Graph<'_>,
    net: &ImageNetwork,
    cuts: &Cuts,
    images: &Value,
) -> Result<Value, ExportError> {
    let first = preprocessing(graph, net, "preprocessing", net.image_at(0), images)?;
    let end = cuts.positions().first().copied().unwrap_or(net.units());
    let mut state = units(graph, net, 0..end, first)?;
    for interface in cuts.interfaces() {
        let scope = format!("interfaces.{}", interface.index);
        let position = interface.position;
        let name = format!("{scope}.preprocessing");
        let start = preprocessing(graph, net, &name, net.image_at(position), images)?;
        let fine = units(graph, net, position..interface.next, start.clone())?;
        let mut coarse = graph.subtract(&format!("{scope}.residual"), &state, &start);
        for (index, component) in net.coarse_components(&interface).into_iter().enumerate() {
            let name = format!("{scope}.coarse.units.{index}");
            coarse = component_unit(graph, &name, component, coarse)?;
        }
        state = graph.add(&format!("{scope}.sum"), &fine, &coarse);
    }
    head(graph, net, &state)
}

/// Adds the units of the serial network with these numbers.
fn units(
    graph: &mut Graph<'_>,
    net: &ImageNetwork,
    numbers: Range<usize>,
    input: Value,
) -> Result<Value, ExportError> {
    numbers.into_iter().try_fold(input, |state, number| {
        component_unit(graph, &format!("units.{number}"), net.unit_component(number), state)
    })
}

fn component_unit(
    graph: &mut Graph<'_>,
    scope: &str,
    component: Component,
    input: Value,
) -> Result<Value, ExportError> {
    match component {
        Component::Unit { kind, from, to } => unit(graph, scope, kind, from, to, input),
        Component::Preprocessing { .. } | Component::Postprocessing { .. } => Ok(input),
    }
}

/// Adds a `C_j` whose output has this shape.
fn preprocessing(
    graph: &mut Graph<'_>,
    net: &ImageNetwork,
    scope: &str,
    to: Image,
    images: &Value,
) -> Result<Value, ExportError> {
    match net.preprocessing_kind(to) {
        PreprocessingKind::First => graph.conv(&format!("{scope}.conv"), images, 1, 1),
        PreprocessingKind::Interface { poolings } => {
            let mut state = images.clone();
            for pooling in 0..poolings {
                state = graph.max_pool(&format!("{scope}.pooled{pooling}"), &state, 3, 1);
            }
            graph.conv(&format!("{scope}.conv"), &state, 1, 1)
        }
        PreprocessingKind::Stem => {
            let state = graph.conv(&format!("{scope}.conv"), images, 2, 1)?;
            let state = graph.norm_relu(&format!("{scope}.norm"), &state)?;
            Ok(graph.max_pool(&format!("{scope}.pooled"), &state, 3, 1))
        }
        PreprocessingKind::Patches { patch } => {
            let embedded = graph.patches(&format!("{scope}.patches"), scope, images, patch)?;
            let [channels, tokens] = [to.channels, to.size * to.size].map(|len| len as i64);
            let rows = graph.reshape(&format!("{scope}.rows"), &embedded, &[0, channels, tokens]);
            let tokens_last = graph.transpose(&format!("{scope}.tokens"), &rows, &[0, 2, 1]);
            let position = graph.weight(&format!("{scope}.position"))?;
            let position =
                graph.reshape(&format!("{scope}.positions"), &position, &[tokens, channels]);
            Ok(graph.add(&format!("{scope}.embedded"), &tokens_last, &position))
        }
    }
}

/// Adds `h`.
fn head(graph: &mut Graph<'_>, net: &ImageNetwork, state: &Value) -> Result<Value, ExportError> {
    const SCOPE: &str = "postprocessing";
    let name = |part: &str| format!("{SCOPE}.{part}");
    let features = match net.head_kind() {
        HeadKind::Preactivation => {
            let activated = graph.norm_relu(&name("norm"), state)?;
            graph.global_mean(&name("mean"), &activated)
        }
        HeadKind::MaxPooled => {
            let activated = graph.norm_relu(&name("norm"), state)?;
            let pooled = graph.max_pool(&name("pooled"), &activated, 2, 0);
            graph.global_mean(&name("mean"), &pooled)
        }
        HeadKind::Mean => graph.global_mean(&name("mean"), state),
        HeadKind::LayerNorm => {
            let normalized = graph.layer_norm(&name("norm"), state)?;
            graph.token_mean(&name("mean"), &normalized)
        }
        HeadKind::Classifier => {
            let activated = graph.norm_relu(&name("norm"), state)?;
            let pooled = graph.max_pool(&name("pooled"), &activated, 2, 0);
            let size = net.image_at(net.units()).size / 2;
            let pooled = match size {
                CLASSIFIER_SIZE => pooled,
                _ => graph.adaptive_mean(&name("adapted"), &pooled, size, CLASSIFIER_SIZE),
            };
            let mut features = graph.reshape(&name("features"), &pooled, &[0, -1]);
            for number in [1, 2] {
                let linear = graph.gemm(&name(&format!("linear{number}")), &features)?;
                features = graph.relu(&name(&format!("relu{number}")), &linear);
            }
            return graph.gemm(&name("linear3"), &features);
        }
    };
    graph.gemm(&name("linear"), &features)
}
