//! Layers as operations: each takes its weights from the graph, under their names in a checkpoint.

use super::graph::{Attribute, Graph, Value};
use crate::ExportError;

/// Constant that batch normalization adds to the variance, PyTorch's default.
const BATCH_NORM_EPSILON: f32 = 1e-5;
/// Constant that layer normalization adds to the variance, as in published vision transformers.
const LAYER_NORM_EPSILON: f32 = 1e-6;

impl Graph<'_> {
    /// A convolution with the weight `{name}.weight` and without a bias, padded to keep the size at stride 1.
    pub(super) fn conv(
        &mut self,
        name: &str,
        input: &Value,
        stride: usize,
        groups: usize,
    ) -> Result<Value, ExportError> {
        let weight = format!("{name}.weight");
        self.conv_of(name, &weight, input, stride, groups)
    }

    /// A convolution with this weight.
    pub(super) fn conv_of(
        &mut self,
        name: &str,
        weight: &str,
        input: &Value,
        stride: usize,
        groups: usize,
    ) -> Result<Value, ExportError> {
        let kernel = match *self.shape_of(weight)? {
            [_, _, height, width] if height == width => height,
            _ => {
                let what = "is not the weight of a convolution with a square kernel";
                return Err(ExportError::Weight { name: weight.into(), what });
            }
        };
        let [padding, stride] = [kernel / 2, stride].map(|len| len as i64);
        let weight = self.weight(weight)?;
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[kernel as i64; 2])),
            ("pads", Attribute::Ints(&[padding; 4])),
            ("strides", Attribute::Ints(&[stride; 2])),
            ("group", Attribute::Int(groups as i64)),
        ];
        Ok(self.node(name, "Conv", &[input, &weight], &attributes))
    }

    /// Batch normalization with the running statistics.
    pub(super) fn batch_norm(&mut self, name: &str, input: &Value) -> Result<Value, ExportError> {
        let mut weights = Vec::new();
        for part in ["weight", "bias", "running_mean", "running_var"] {
            weights.push(self.weight(&format!("{name}.{part}"))?);
        }
        let inputs: Vec<&Value> = [input].into_iter().chain(&weights).collect();
        let attributes = [("epsilon", Attribute::Float(BATCH_NORM_EPSILON))];
        Ok(self.node(name, "BatchNormalization", &inputs, &attributes))
    }

    /// Batch normalization and ReLU.
    pub(super) fn norm_relu(&mut self, name: &str, input: &Value) -> Result<Value, ExportError> {
        let normalized = self.batch_norm(name, input)?;
        Ok(self.relu(&format!("{name}.relu"), &normalized))
    }

    pub(super) fn relu(&mut self, name: &str, input: &Value) -> Value {
        self.node(name, "Relu", &[input], &[])
    }

    pub(super) fn add(&mut self, name: &str, a: &Value, b: &Value) -> Value {
        self.node(name, "Add", &[a, b], &[])
    }

    pub(super) fn subtract(&mut self, name: &str, a: &Value, b: &Value) -> Value {
        self.node(name, "Sub", &[a, b], &[])
    }

    /// Max pooling. `padding` is that of all four sides.
    pub(super) fn max_pool(
        &mut self,
        name: &str,
        input: &Value,
        kernel: i64,
        padding: i64,
    ) -> Value {
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[kernel; 2])),
            ("pads", Attribute::Ints(&[padding; 4])),
            ("strides", Attribute::Ints(&[2; 2])),
        ];
        self.node(name, "MaxPool", &[input], &attributes)
    }

    /// Average pooling by 2. If the size is odd, the last row and column of windows have fewer pixels.
    pub(super) fn average_pool(&mut self, name: &str, input: &Value, size: usize) -> Value {
        let rest = (size % 2) as i64;
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[2; 2])),
            ("pads", Attribute::Ints(&[0, 0, rest, rest])),
            ("strides", Attribute::Ints(&[2; 2])),
            ("count_include_pad", Attribute::Int(0)),
        ];
        self.node(name, "AveragePool", &[input], &attributes)
    }

    /// Nearest-neighbor interpolation to twice the size, without the last row and column if `size` is odd.
    pub(super) fn upsample(&mut self, name: &str, input: &Value, size: usize) -> Value {
        let scales = self.floats(&format!("{name}.scales"), &[4], &[1.0, 1.0, 2.0, 2.0]);
        let attributes = [
            ("mode", Attribute::Text("nearest")),
            ("coordinate_transformation_mode", Attribute::Text("asymmetric")),
            ("nearest_mode", Attribute::Text("floor")),
        ];
        let inputs = [input, &Value::absent(), &scales];
        if size.is_multiple_of(2) {
            return self.node(name, "Resize", &inputs, &attributes);
        }
        let doubled = self.node(&format!("{name}.doubled"), "Resize", &inputs, &attributes);
        let starts = self.integers(&format!("{name}.starts"), &[0, 0]);
        let ends = self.integers(&format!("{name}.ends"), &[size as i64; 2]);
        let axes = self.integers(&format!("{name}.axes"), &[2, 3]);
        self.node(name, "Slice", &[&doubled, &starts, &ends, &axes], &[])
    }

    /// The mean over all pixels: `[batch, channels, height, width]` to `[batch, channels]`.
    pub(super) fn global_mean(&mut self, name: &str, input: &Value) -> Value {
        let attributes = [("axes", Attribute::Ints(&[2, 3])), ("keepdims", Attribute::Int(0))];
        self.node(name, "ReduceMean", &[input], &attributes)
    }

    /// The mean over all tokens: `[batch, tokens, channels]` to `[batch, channels]`.
    pub(super) fn token_mean(&mut self, name: &str, input: &Value) -> Value {
        let attributes = [("axes", Attribute::Ints(&[1])), ("keepdims", Attribute::Int(0))];
        self.node(name, "ReduceMean", &[input], &attributes)
    }

    /// Adaptive average pooling from `size` to `target` rows and columns: row `i` is the mean of the rows from
    /// `⌊i · size / target⌋` to `⌈(i + 1) · size / target⌉`, as two products with a matrix of weights.
    pub(super) fn adaptive_mean(
        &mut self,
        name: &str,
        input: &Value,
        size: usize,
        target: usize,
    ) -> Value {
        let mut weights = vec![0.0; size * target];
        for row in 0..target {
            let (start, end) = (row * size / target, ((row + 1) * size).div_ceil(target));
            for column in start..end {
                weights[column * target + row] = 1.0 / (end - start) as f32;
            }
        }
        let weights = self.floats(&format!("{name}.weights"), &[size, target], &weights);
        let columns = self.node(&format!("{name}.columns"), "MatMul", &[input, &weights], &[]);
        let turned = self.transpose(&format!("{name}.turned"), &columns, &[0, 1, 3, 2]);
        let rows = self.node(&format!("{name}.rows"), "MatMul", &[&turned, &weights], &[]);
        self.transpose(name, &rows, &[0, 1, 3, 2])
    }

    /// The embedding of square patches with the weight and bias of a scope.
    pub(super) fn patches(
        &mut self,
        name: &str,
        scope: &str,
        input: &Value,
        patch: usize,
    ) -> Result<Value, ExportError> {
        let weight = self.weight(&format!("{scope}.weight"))?;
        let bias = self.weight(&format!("{scope}.bias"))?;
        let attributes = [("strides", Attribute::Ints(&[patch as i64; 2]))];
        Ok(self.node(name, "Conv", &[input, &weight, &bias], &attributes))
    }

    /// A linear layer on `[batch, features]`.
    pub(super) fn gemm(&mut self, name: &str, input: &Value) -> Result<Value, ExportError> {
        let [weight, bias] = self.linear_weights(name)?;
        let attributes = [("transB", Attribute::Int(1))];
        Ok(self.node(name, "Gemm", &[input, &weight, &bias], &attributes))
    }

    /// A linear layer on the last dimension of `[batch, tokens, features]`.
    pub(super) fn linear(&mut self, name: &str, input: &Value) -> Result<Value, ExportError> {
        let [weight, bias] = self.linear_weights(name)?;
        let attributes = [("perm", Attribute::Ints(&[1, 0]))];
        let transposed =
            self.node(&format!("{name}.transposed"), "Transpose", &[&weight], &attributes);
        let product = self.node(&format!("{name}.product"), "MatMul", &[input, &transposed], &[]);
        Ok(self.add(name, &product, &bias))
    }

    fn linear_weights(&mut self, name: &str) -> Result<[Value; 2], ExportError> {
        Ok([self.weight(&format!("{name}.weight"))?, self.weight(&format!("{name}.bias"))?])
    }

    /// Layer normalization over the last dimension.
    pub(super) fn layer_norm(&mut self, name: &str, input: &Value) -> Result<Value, ExportError> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let bias = self.weight(&format!("{name}.bias"))?;
        let attributes =
            [("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(LAYER_NORM_EPSILON))];
        Ok(self.node(name, "LayerNormalization", &[input, &weight, &bias], &attributes))
    }

    /// `x · (1 + erf(x / √2)) / 2`.
    pub(super) fn gelu(&mut self, name: &str, input: &Value) -> Value {
        let factor =
            self.floats(&format!("{name}.sqrt_half"), &[], &[std::f32::consts::FRAC_1_SQRT_2]);
        let [one, half] = [("one", 1.0), ("half", 0.5)]
            .map(|(part, value)| self.floats(&format!("{name}.{part}"), &[], &[value]));
        let scaled = self.node(&format!("{name}.scaled"), "Mul", &[input, &factor], &[]);
        let erf = self.node(&format!("{name}.erf"), "Erf", &[&scaled], &[]);
        let raised = self.add(&format!("{name}.raised"), &erf, &one);
        let product = self.node(&format!("{name}.product"), "Mul", &[input, &raised], &[]);
        self.node(name, "Mul", &[&product, &half], &[])
    }

    /// Another shape for the same elements; 0 keeps a dimension, and -1 takes the rest.
    pub(super) fn reshape(&mut self, name: &str, input: &Value, shape: &[i64]) -> Value {
        let shape = self.integers(&format!("{name}.shape"), shape);
        self.node(name, "Reshape", &[input, &shape], &[])
    }

    pub(super) fn transpose(&mut self, name: &str, input: &Value, permutation: &[i64]) -> Value {
        self.node(name, "Transpose", &[input], &[("perm", Attribute::Ints(permutation))])
    }
}
