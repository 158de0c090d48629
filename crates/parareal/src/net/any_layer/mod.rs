//! Layers made of any Burn module and a function.

mod erased_layer;
mod erased_module;

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::module::{
    Content, Devices, DisplaySettings, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
    ModuleVisitor,
};
use burn::tensor::{DType, Device, TensorData};
use parareal_text::panic_message;

use super::initialize::has_undrawn;
use super::{Init, Layer, SampleShape, ShapeError, Value};
use erased_layer::{Applied, BoxedLayer};
use erased_module::{Adapter, MAX_RANK, max_rank};

/// A layer of any type: a Burn module and the function that applies it. Created by [`layer`].
///
/// Its parameters have the same names as in the module. The shape of its output is determined by a dry run,
/// in which the layer is applied to one sample in evaluation mode and without gradients. A panic is caught
/// and returned as a [`ShapeError`]. [`Self::with_output_shape`] makes the dry run unnecessary.
pub struct AnyLayer<A, B> {
    layer: BoxedLayer<A, B>,
    /// One sample of the input for the dry run.
    example: Option<A>,
    output_shape: Option<SampleShape>,
}

/// Creates a layer from a Burn module and a function that applies it.
///
/// The function is a method such as `Linear::forward`, or a closure. A tuple combines several modules into
/// one layer. Only tensors of the module are trained, moved and saved. Tensors that the function captures are
/// constants.
///
/// ```
/// use parareal::burn::nn::{LayerNorm, LayerNormConfig, Linear, LinearConfig};
/// use parareal::burn::tensor::{Device, Tensor};
/// use parareal::net::{AnyLayer, Layer, layer};
///
/// let device = Device::flex();
/// let linear = LinearConfig::new(4, 8).init(&device);
/// let first: AnyLayer<Tensor<2>, Tensor<2>> = layer(linear, Linear::forward);
/// assert_eq!(first.output_shape(&[4].into())?, [8].into());
///
/// let modules = (LayerNormConfig::new(8).init(&device), LinearConfig::new(8, 8).init(&device));
/// let second = layer(modules, |(norm, linear), x: Tensor<2>| {
///     x.clone() + linear.forward(norm.forward(x)).tanh()
/// });
/// assert_eq!(second.output_shape(&[8].into())?, [8].into());
/// # Ok::<(), parareal::net::ShapeError>(())
/// ```
///
/// # Panics
/// If a parameter has more than eight dimensions, which is the limit of Burn's optimizers.
pub fn layer<A, B, M, F>(module: M, forward: F) -> AnyLayer<A, B>
where
    M: Module + ModuleDisplay + 'static,
    F: Fn(&M, A) -> B + Clone + Send + 'static,
    A: Value,
    B: Value,
{
    let rank = max_rank(&module);
    assert!(
        rank <= MAX_RANK,
        "a parameter has {rank} dimensions: at most {MAX_RANK} are supported"
    );
    AnyLayer { layer: Box::new(Applied { module, forward }), example: None, output_shape: None }
}

/// Creates a layer without parameters from a function.
///
/// ```
/// use parareal::burn::tensor::Tensor;
/// use parareal::net::{Layer, layer_fn};
///
/// let mean = layer_fn(|x: Tensor<3>| x.mean_dim(2).squeeze_dim::<2>(2));
/// assert_eq!(mean.output_shape(&[8, 16].into())?, [8].into());
/// # Ok::<(), parareal::net::ShapeError>(())
/// ```
pub fn layer_fn<A, B, F>(forward: F) -> AnyLayer<A, B>
where
    F: Fn(A) -> B + Clone + Send + 'static,
    A: Value,
    B: Value,
{
    // Burn implements `Module` for numbers, without parameters.
    layer(0_usize, move |_: &usize, input| forward(input))
}

impl<A: Value, B: Value> AnyLayer<A, B> {
    /// Declares the shape of one output sample. The dry run is then omitted, and the shape of the input is
    /// not checked.
    #[must_use]
    pub fn with_output_shape(mut self, shape: impl Into<SampleShape>) -> Self {
        self.output_shape = Some(shape.into());
        self
    }

    /// Sets the input sample for the dry run. It must be on the CPU, without automatic differentiation.
    #[must_use]
    pub(crate) fn with_example(mut self, example: A) -> Self {
        self.example = Some(example);
        self
    }

    /// Applies the layer to one sample in evaluation mode, without gradients.
    ///
    /// # Errors
    /// If the layer panics.
    pub(crate) fn dry_run(&self, input: A) -> Result<B, ShapeError> {
        let found = input.shape();
        // `initialize` draws the parameters under a lock, because other threads may initialize modules at the
        // same time.
        if has_undrawn(self) {
            let _ = Init::new(0, &Device::flex()).initialize(self.clone());
        }
        let device = self.collect_devices(Vec::new()).into_iter().next().map(Device::inner);
        let run = || {
            let input = match &device {
                Some(device) => input.to_device(device),
                None => input,
            };
            self.layer.valid().forward(input)
        };
        catch_unwind(AssertUnwindSafe(run)).map_err(|panic| {
            let expected =
                format!("an input that the layer accepts (it panicked: {})", line(&*panic));
            ShapeError { expected, found }
        })
    }

    /// Returns the declared shape of one output sample.
    pub(crate) fn declared_shape(&self) -> Option<&SampleShape> {
        self.output_shape.as_ref()
    }
}

/// Returns the message of a panic on one line.
fn line(panic: &(dyn Any + Send)) -> String {
    panic_message(panic).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns one sample of this shape whose elements are all zero.
///
/// # Errors
/// If values of this type have a different number of tensors or dimensions.
pub(crate) fn zero_sample<A: Value>(shape: &SampleShape, dtype: DType) -> Result<A, ShapeError> {
    let zeros = shape.components().iter().map(|dims| {
        let dims: Vec<usize> = std::iter::once(1).chain(dims.iter().copied()).collect();
        TensorData::zeros::<f32, _>(dims)
    });
    let build = || A::from_data(zeros.collect(), &Device::flex(), dtype);
    catch_unwind(AssertUnwindSafe(build)).map_err(|panic| {
        let expected = format!("a different number of dimensions ({})", line(&*panic));
        ShapeError { expected, found: shape.clone() }
    })
}

impl<A: Value, B: Value> Layer<A, B> for AnyLayer<A, B> {
    fn forward(&self, input: A) -> B {
        self.layer.forward(input)
    }

    fn output_shape(&self, input: &SampleShape) -> Result<SampleShape, ShapeError> {
        if let Some(shape) = &self.output_shape {
            return Ok(shape.clone());
        }
        let sample = match &self.example {
            Some(example) if example.shape() == *input => example.clone(),
            Some(example) => {
                let expected = format!("a sample of shape {}", example.shape());
                return Err(ShapeError { expected, found: input.clone() });
            }
            None => zero_sample(input, DType::F32)?,
        };
        Ok(self.dry_run(sample)?.shape())
    }
}

impl<A: Value, B: Value> AnyLayer<A, B> {
    /// Creates a layer from its parts.
    fn with(
        layer: BoxedLayer<A, B>,
        example: Option<A>,
        output_shape: Option<SampleShape>,
    ) -> Self {
        Self { layer, example, output_shape }
    }
}

impl<A: Value, B: Value> Clone for AnyLayer<A, B> {
    fn clone(&self) -> Self {
        let Self { layer, example, output_shape } = self;
        Self::with(layer.boxed_clone(), example.clone(), output_shape.clone())
    }
}

impl<A, B> fmt::Debug for AnyLayer<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.layer.fmt(f)
    }
}

impl<A: Value, B: Value> fmt::Display for AnyLayer<A, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(DisplaySettings::default()))
    }
}

impl<A: Value, B: Value> ModuleDisplayDefault for AnyLayer<A, B> {
    fn content(&self, content: Content) -> Option<Content> {
        Some(content)
    }
}

impl<A: Value, B: Value> ModuleDisplay for AnyLayer<A, B> {
    fn format(&self, settings: DisplaySettings) -> String {
        self.layer.format(settings)
    }
}

impl<A: Value, B: Value> Module for AnyLayer<A, B> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        self.layer.collect_devices(devices)
    }

    fn fork(self, device: &Device) -> Self {
        Self::with(self.layer.fork(device), self.example, self.output_shape)
    }

    fn to_device(self, device: &Device) -> Self {
        Self::with(self.layer.to_device(device), self.example, self.output_shape)
    }

    fn train(self) -> Self {
        Self::with(self.layer.train(), self.example, self.output_shape)
    }

    fn valid(&self) -> Self {
        Self::with(self.layer.valid(), self.example.clone(), self.output_shape.clone())
    }

    fn materialize(self) -> Self {
        Self::with(self.layer.materialize(), self.example, self.output_shape)
    }

    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        self.layer.visit(&mut Adapter(visitor));
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        Self::with(self.layer.map(&mut Adapter(mapper)), self.example, self.output_shape)
    }
}
