//! Units as operations on images `[batch, channels, height, width]`, or on tokens `[batch, tokens, channels]` in a
//! vision transformer.

use parareal_models::{Image, UnitKind};

use super::graph::{Attribute, Graph, Value};
use crate::ExportError;

/// Adds a unit whose weights have names below `scope`.
pub(super) fn unit(
    graph: &mut Graph<'_>,
    scope: &str,
    kind: UnitKind,
    from: Image,
    to: Image,
    input: Value,
) -> Result<Value, ExportError> {
    let unit = Unit { scope, from, to };
    match kind {
        UnitKind::Basic => unit.preactivation(graph, &input, &[1, 2], 1),
        UnitKind::Bottleneck => unit.preactivation(graph, &input, &[1, 2, 3], 2),
        UnitKind::Half | UnitKind::Quarter => unit.preactivation(graph, &input, &[1, 2, 3, 4], 2),
        UnitKind::Depthwise => unit.depthwise(graph, &input),
        UnitKind::Coarsened => unit.coarsened(graph, &input),
        UnitKind::Grouped => unit.grouped(graph, &input),
        UnitKind::None => match from == to {
            true => Ok(input),
            false => {
                let activated = graph.norm_relu(&unit.name("norm1"), &input)?;
                graph.conv(&unit.name("projection"), &activated, unit.stride(), 1)
            }
        },
        UnitKind::Vgg => unit.vgg(graph, &input),
        UnitKind::OriginalBottleneck => unit.original_bottleneck(graph, &input),
        UnitKind::Transformer => unit.transformer(graph, &input),
        _ => Err(ExportError::Unit(kind)),
    }
}

/// The scope and the shapes of a unit.
struct Unit<'a> {
    scope: &'a str,
    from: Image,
    to: Image,
}

impl Unit<'_> {
    fn name(&self, part: &str) -> String {
        format!("{}.{part}", self.scope)
    }

    fn stride(&self) -> usize {
        self.from.size / self.to.size
    }

    /// The skip connection: the input, or a projection of the first activated state.
    fn skip(
        &self,
        graph: &mut Graph<'_>,
        input: &Value,
        activated: &Value,
    ) -> Result<Value, ExportError> {
        match self.from == self.to {
            true => Ok(input.clone()),
            false => graph.conv(&self.name("projection"), activated, self.stride(), 1),
        }
    }

    /// Convolutions `conv1`, `conv2`, …, each after batch normalization and ReLU, and the skip connection. The one with
    /// number `strided` has the stride.
    fn preactivation(
        &self,
        graph: &mut Graph<'_>,
        input: &Value,
        convs: &[usize],
        strided: usize,
    ) -> Result<Value, ExportError> {
        let (mut state, mut skip) = (input.clone(), input.clone());
        for &number in convs {
            let activated = graph.norm_relu(&self.name(&format!("norm{number}")), &state)?;
            if number == 1 {
                skip = self.skip(graph, input, &activated)?;
            }
            let stride = if number == strided { self.stride() } else { 1 };
            state = graph.conv(&self.name(&format!("conv{number}")), &activated, stride, 1)?;
        }
        Ok(graph.add(&self.name("sum"), &state, &skip))
    }

    fn depthwise(&self, graph: &mut Graph<'_>, input: &Value) -> Result<Value, ExportError> {
        let channels = self.to.channels;
        let activated = graph.norm_relu(&self.name("norm1"), input)?;
        let skip = self.skip(graph, input, &activated)?;
        let state = graph.conv(&self.name("conv1"), &activated, 1, 1)?;
        let state = graph.conv(&self.name("depthwise1"), &state, self.stride(), channels)?;
        let state = graph.norm_relu(&self.name("norm2"), &state)?;
        let state = graph.conv(&self.name("conv2"), &state, 1, 1)?;
        let state = graph.conv(&self.name("depthwise2"), &state, 1, channels)?;
        Ok(graph.add(&self.name("sum"), &state, &skip))
    }

    fn coarsened(&self, graph: &mut Graph<'_>, input: &Value) -> Result<Value, ExportError> {
        let pooled = graph.average_pool(&self.name("pooled"), input, self.from.size);
        let activated = graph.norm_relu(&self.name("norm1"), &pooled)?;
        let skip = match self.from == self.to {
            true => input.clone(),
            // The pooled input has the size of the output already.
            false => graph.conv(&self.name("projection"), &activated, 1, 1)?,
        };
        let state = graph.conv(&self.name("conv1"), &activated, self.stride(), 1)?;
        let state = graph.norm_relu(&self.name("norm2"), &state)?;
        let state = graph.conv(&self.name("conv2"), &state, 1, 1)?;
        let state = graph.upsample(&self.name("upsampled"), &state, self.to.size);
        Ok(graph.add(&self.name("sum"), &state, &skip))
    }

    fn grouped(&self, graph: &mut Graph<'_>, input: &Value) -> Result<Value, ExportError> {
        let activated = graph.norm_relu(&self.name("norm1"), input)?;
        let skip = self.skip(graph, input, &activated)?;
        let state = self.balanced_groups(graph, "conv1", &activated, self.from, self.stride())?;
        let state = graph.norm_relu(&self.name("norm2"), &state)?;
        let state = self.balanced_groups(graph, "conv2", &state, self.to, 1)?;
        Ok(graph.add(&self.name("sum"), &state, &skip))
    }

    /// A balanced group convolution: a convolution of each group, plus one of the mean of all groups.
    fn balanced_groups(
        &self,
        graph: &mut Graph<'_>,
        conv: &str,
        input: &Value,
        from: Image,
        stride: usize,
    ) -> Result<Value, ExportError> {
        let name = self.name(conv);
        let weight = format!("{name}.weight");
        let Some(&channels) = graph.shape_of(&weight)?.get(1) else {
            return Err(ExportError::Weight { name: weight, what: "is not that of a convolution" });
        };
        let groups = from.channels / channels;
        let own = graph.conv_of(&format!("{name}.own"), &weight, input, stride, groups)?;
        let [channels, size] = [channels, from.size].map(|len| len as i64);
        let shape = [0, groups as i64, channels, size, size];
        let split = graph.reshape(&format!("{name}.groups"), input, &shape);
        let attributes = [("axes", Attribute::Ints(&[1])), ("keepdims", Attribute::Int(0))];
        let mean = graph.node(&format!("{name}.mean"), "ReduceMean", &[&split], &attributes);
        let mean_weight = format!("{name}.mean_weight");
        let shared = graph.conv_of(&format!("{name}.shared"), &mean_weight, &mean, stride, 1)?;
        Ok(graph.add(&name, &own, &shared))
    }

    fn vgg(&self, graph: &mut Graph<'_>, input: &Value) -> Result<Value, ExportError> {
        let mut state = graph.norm_relu(&self.name("norm"), input)?;
        if self.from.size != self.to.size {
            state = graph.max_pool(&self.name("pooled"), &state, 2, 0);
        }
        graph.conv(&self.name("conv"), &state, 1, 1)
    }

    fn original_bottleneck(
        &self,
        graph: &mut Graph<'_>,
        input: &Value,
    ) -> Result<Value, ExportError> {
        let mut state = input.clone();
        for (number, stride) in [(1, 1), (2, self.stride()), (3, 1)] {
            state = graph.conv(&self.name(&format!("conv{number}")), &state, stride, 1)?;
            let norm = self.name(&format!("norm{number}"));
            state = match number {
                3 => graph.batch_norm(&norm, &state)?,
                _ => graph.norm_relu(&norm, &state)?,
            };
        }
        let skip = match self.from == self.to {
            true => input.clone(),
            false => {
                let skip = graph.conv(&self.name("projection"), input, self.stride(), 1)?;
                graph.batch_norm(&self.name("projection_norm"), &skip)?
            }
        };
        let sum = graph.add(&self.name("sum"), &state, &skip);
        Ok(graph.relu(&self.name("relu"), &sum))
    }

    fn transformer(&self, graph: &mut Graph<'_>, input: &Value) -> Result<Value, ExportError> {
        let normalized = graph.layer_norm(&self.name("norm1"), input)?;
        let attended = self.attention(graph, &normalized)?;
        let attended = graph.linear(&self.name("proj"), &attended)?;
        let tokens = graph.add(&self.name("sum1"), input, &attended);
        let normalized = graph.layer_norm(&self.name("norm2"), &tokens)?;
        let hidden = graph.linear(&self.name("linear1"), &normalized)?;
        let hidden = graph.gelu(&self.name("gelu"), &hidden);
        let hidden = graph.linear(&self.name("linear2"), &hidden)?;
        Ok(graph.add(&self.name("sum2"), &tokens, &hidden))
    }

    /// Scaled dot-product attention of all heads, without the last linear layer.
    fn attention(&self, graph: &mut Graph<'_>, tokens: &Value) -> Result<Value, ExportError> {
        let channels = self.to.channels;
        let heads = UnitKind::attention_heads(channels);
        let size = channels / heads;
        let all = graph.linear(&self.name("qkv"), tokens)?;
        let parts = graph.split(&self.name("parts"), &[&all], 3, -1);
        let shape = [0, 0, heads as i64, size as i64];
        let mut part = |index: usize, name: &str, permutation: &[i64]| {
            let split = graph.reshape(&self.name(&format!("{name}.heads")), &parts[index], &shape);
            graph.transpose(&self.name(name), &split, permutation)
        };
        let query = part(0, "query", &[0, 2, 1, 3]);
        let key = part(1, "key", &[0, 2, 3, 1]);
        let value = part(2, "value", &[0, 2, 1, 3]);
        let scale = (size as f32).sqrt().recip();
        let scale = graph.floats(&self.name("scale"), &[], &[scale]);
        let query = graph.node(&self.name("scaled"), "Mul", &[&query, &scale], &[]);
        let scores = graph.node(&self.name("scores"), "MatMul", &[&query, &key], &[]);
        let attributes = [("axis", Attribute::Int(-1))];
        let weights = graph.node(&self.name("attention"), "Softmax", &[&scores], &attributes);
        let mixed = graph.node(&self.name("mixed"), "MatMul", &[&weights, &value], &[]);
        let mixed = graph.transpose(&self.name("mixed.tokens"), &mixed, &[0, 2, 1, 3]);
        Ok(graph.reshape(&self.name("mixed.joined"), &mixed, &[0, 0, channels as i64]))
    }
}
