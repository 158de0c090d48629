//! Networks that are defined by closures that build their layers.

use std::fmt;
use std::sync::Arc;

use burn::tensor::{DType, Device};

use super::any_layer::{AnyLayer, layer, zero_sample};
use super::receptive_field::covered_elements;
use super::{
    Activation, Coarsen, FeedForward, Init, Interface, Layer, NetError, ReceptiveField,
    SampleShape, ShapeError, Value, units_within_cost,
};

type Build<A, B> = Arc<dyn Fn(&Init) -> AnyLayer<A, B> + Send + Sync>;
type BuildUnit<S> = Arc<dyn Fn(usize, &Init) -> AnyLayer<S, S> + Send + Sync>;
type BuildAt<A, B> = Arc<dyn Fn(&Interface, &Init) -> AnyLayer<A, B> + Send + Sync>;

/// A feed-forward network of arbitrary layers: a stem `C`, units and a head `h`, each built by a closure.
///
/// Each closure receives an [`Init`]. Burn's layers are built on its device ([`Init::device`]), and their
/// initial weights depend on the seed and the name of the parameter. [`layer`] creates a layer from a module
/// and a function.
///
/// ```
/// use parareal::prelude::*;
/// use parareal::burn::nn::{Linear, LinearConfig};
///
/// let sample = Tensor::<2>::zeros([1, 4], &Device::flex());
/// let linear = |from, to, init: &Init| LinearConfig::new(from, to).init(init.device());
/// let network = Sequential::stem(sample, move |init| layer(linear(4, 16, init), Linear::forward))
///     .units(12, move |_, init| {
///         layer(linear(16, 16, init), |linear, x: Tensor<2>| x.clone() + linear.forward(x).tanh())
///     })
///     .head(move |init| layer(linear(16, 3, init), Linear::forward))?;
///
/// let init = Init::new(1, &Device::flex());
/// let parareal = PararealNetwork::build(&network, &Cuts::even(12, 3)?, &init)?;
/// assert_eq!(parareal.forward(Tensor::zeros([5, 4], &Device::flex())).dims(), [5, 3]);
/// # Ok::<(), NetError>(())
/// ```
///
/// # What a cut adds
/// By default, the modules at an interface are copies of layers of the network with separate weights:
///
/// - `C_{j+1}` is the stem, followed by the units before the cut that change the shape of the state.
/// - `F_j` consists of `N_c` of the units that it approximates: all units that change the shape, and some of
///   the others. `N_c` is the paper's `⌈12/N⌉`, but at most a quarter of the number of units that `F_j`
///   approximates ([`units_within_cost`]), and at least one. [`Self::with_coarse_units`] sets a different
///   number, and [`Self::with_receptive_fields`] chooses the number by coverage.
///
/// [`Self::with_interface_preprocessing`] and [`Self::with_coarse`] build other modules.
///
/// # Shapes
/// The shape of the state after each unit is determined by a dry run when the network is created: each layer
/// is built once and applied to one sample, in evaluation mode, without gradients, on the CPU.
/// [`AnyLayer::with_output_shape`] declares the shape of a layer's output instead. A stem whose state is a
/// [`WithContext`](super::WithContext) must not declare its shape, because the context is computed from the
/// sample.
pub struct Sequential<I, S, O> {
    /// One sample of the input.
    sample: I,
    stem: Build<I, S>,
    units: Vec<BuildUnit<S>>,
    head: Build<S, O>,
    /// One sample of the state at each position.
    states: Vec<S>,
    interface_preprocessing: Option<BuildAt<I, S>>,
    coarse: Option<BuildAt<S, S>>,
    coarse_units: CoarseUnits,
}

/// The rule that determines `N_c`.
#[derive(Clone)]
enum CoarseUnits {
    /// The paper's number, but at most a quarter of the units that `F_j` approximates.
    Cheap,
    Count(usize),
    /// The number of units that cover about as much as the subnetwork.
    Covering {
        axis: usize,
        field: Arc<dyn Fn(usize) -> ReceptiveField + Send + Sync>,
    },
}

/// A builder of a [`Sequential`] network, with a stem and units.
pub struct SequentialBuilder<I, S> {
    sample: I,
    stem: Build<I, S>,
    units: Vec<BuildUnit<S>>,
}

impl<I: Value, S: Activation> Sequential<I, S, S> {
    /// Creates a builder of a network from a batch of one sample and the stem `C`. Only the shape and type of
    /// the sample matter, except that indices in the sample must be valid for layers that look them up.
    ///
    /// If there are several samples, the first one is used.
    pub fn stem(
        sample: I,
        build: impl Fn(&Init) -> AnyLayer<I, S> + Send + Sync + 'static,
    ) -> SequentialBuilder<I, S> {
        SequentialBuilder { sample, stem: Arc::new(build), units: Vec::new() }
    }
}

impl<I: Value, S: Activation> SequentialBuilder<I, S> {
    /// Appends a unit.
    #[must_use]
    pub fn unit(self, build: impl Fn(&Init) -> AnyLayer<S, S> + Send + Sync + 'static) -> Self {
        self.units(1, move |_, init| build(init))
    }

    /// Appends `count` units. The argument of the closure is the index of the unit among them, from 0.
    #[must_use]
    pub fn units(
        mut self,
        count: usize,
        build: impl Fn(usize, &Init) -> AnyLayer<S, S> + Send + Sync + 'static,
    ) -> Self {
        let (build, first) = (Arc::new(build), self.units.len());
        let unit = |_| {
            let build = Arc::clone(&build);
            let unit: BuildUnit<S> = Arc::new(move |index, init| build(index - first, init));
            unit
        };
        self.units.extend((0..count).map(unit));
        self
    }

    /// Completes the network with its head `h`, and determines the shapes between its layers.
    ///
    /// # Errors
    /// [`NetError::NoSample`] if the sample is empty; [`NetError::Refused`] if a layer cannot be applied to
    /// the output of the layers before it; [`NetError::ChangedContext`], [`NetError::RandomLayer`] or
    /// [`NetError::HiddenLayer`].
    pub fn head<O: Activation>(
        self,
        build: impl Fn(&Init) -> AnyLayer<S, O> + Send + Sync + 'static,
    ) -> Result<Sequential<I, S, O>, NetError> {
        let Self { sample, stem, units, .. } = self;
        if sample.samples() == 0 {
            return Err(NetError::NoSample);
        }
        // The sample is moved to the CPU, without automatic differentiation.
        let (sample, cpu) = (sample.part(0..1), Device::flex());
        let sample = match sample.device().is_autodiff() {
            true => I::from_data(sample.into_data(), &cpu, DType::F32),
            false => sample.to_device(&cpu).to_dtype(DType::F32),
        };
        let mut network = Sequential {
            sample,
            stem,
            units,
            head: Arc::new(build),
            states: Vec::new(),
            interface_preprocessing: None,
            coarse: None,
            coarse_units: CoarseUnits::Cheap,
        };
        network.find_states()?;
        Ok(network)
    }
}

impl<I: Value, S: Activation, O: Activation> Sequential<I, S, O> {
    /// Sets a closure that builds `C_{j+1}` of every interface. The layer maps the input to the state at the
    /// position of the cut ([`Interface::position`]).
    #[must_use]
    pub fn with_interface_preprocessing(
        mut self,
        build: impl Fn(&Interface, &Init) -> AnyLayer<I, S> + Send + Sync + 'static,
    ) -> Self {
        self.interface_preprocessing = Some(Arc::new(build));
        self
    }

    /// Sets a closure that builds `F_j` of every interface. The layer maps the state at the position of the
    /// cut to the state at the next one ([`Interface::next`]).
    #[must_use]
    pub fn with_coarse(
        mut self,
        build: impl Fn(&Interface, &Init) -> AnyLayer<S, S> + Send + Sync + 'static,
    ) -> Self {
        self.coarse = Some(Arc::new(build));
        self
    }

    /// Sets `N_c`, the number of units of each `F_j`.
    ///
    /// `F_j` always contains the units that change the shape of the state, and at least one unit. It never
    /// has more units than the subnetwork that it approximates.
    #[must_use]
    pub fn with_coarse_units(mut self, count: usize) -> Self {
        self.coarse_units = CoarseUnits::Count(count);
        self
    }

    /// Chooses `N_c` so that the coarse network covers about as much of its input as the subnetwork, as the
    /// paper proposes ([`units_to_cover`](super::units_to_cover)).
    ///
    /// The closure returns the receptive field of the unit with the given index along `axis`, which is an
    /// axis of the first tensor of the state, without the batch dimension. The size to be covered is at most
    /// the size of the state along this axis.
    ///
    /// # Errors
    /// [`NetError::NoAxis`] if a state does not have this axis.
    pub fn with_receptive_fields(
        mut self,
        axis: usize,
        field: impl Fn(usize) -> ReceptiveField + Send + Sync + 'static,
    ) -> Result<Self, NetError> {
        let has_axis = |state: &&S| first_extent(&state.shape(), axis).is_some();
        if let Some(state) = self.states.iter().find(|state| !has_axis(state)) {
            return Err(NetError::NoAxis { axis, shape: state.shape() });
        }
        self.coarse_units = CoarseUnits::Covering { axis, field: Arc::new(field) };
        Ok(self)
    }

    /// Returns the indices of the units that `F_j` is made of, in order, unless [`Self::with_coarse`] was
    /// called.
    #[must_use]
    pub fn coarse_units(&self, interface: &Interface) -> Vec<usize> {
        let fine = interface.position..interface.next;
        // Units that change the shape come first, because they are always needed.
        let (mut order, others): (Vec<_>, Vec<_>) =
            fine.clone().partition(|&unit| self.changes_shape(unit));
        let required = order.len().max(1);
        order.extend(others);
        let first = |count: usize| {
            let mut units = order[..count.clamp(required, order.len())].to_vec();
            units.sort_unstable();
            units
        };
        match &self.coarse_units {
            CoarseUnits::Cheap => {
                let paper = 12_usize.div_ceil(interface.subnetworks.max(1));
                first(units_within_cost(fine.len() as f64, 1.0, 0.25).min(paper))
            }
            CoarseUnits::Count(count) => first(*count),
            CoarseUnits::Covering { axis, field } => {
                let shape = self.states[interface.position].shape();
                let extent = first_extent(&shape, *axis).unwrap_or(1);
                let target = covered_elements(fine.map(|unit| field(unit)), extent);
                let distance = |units: &Vec<usize>| {
                    let fields = units.iter().map(|&unit| field(unit));
                    ReceptiveField::of_sequence(fields).size.abs_diff(target)
                };
                // If several numbers are equally close, the smallest one is chosen.
                let choices = (required..=order.len()).map(first);
                choices.min_by_key(distance).unwrap_or_else(|| first(required))
            }
        }
    }

    /// Returns true if the states before and after a unit have different shapes.
    fn changes_shape(&self, unit: usize) -> bool {
        self.states[unit].shape() != self.states[unit + 1].shape()
    }

    /// Determines the states by building each layer once and applying it to one sample.
    fn find_states(&mut self) -> Result<(), NetError> {
        let init = Init::new(0, &Device::flex());
        let stem = named(&init, "preprocessing", |init| (self.stem)(init))?;
        let mut state = match stem.declared_shape() {
            Some(shape) => zero_sample(shape, DType::F32).map_err(refused(STEM.into()))?,
            None => stem.dry_run(self.sample.clone()).map_err(refused(STEM.into()))?,
        };
        let mut before = STEM.to_string();
        self.states.push(state.clone());
        for (index, build) in self.units.iter().enumerate() {
            let name = format!("units.{index}");
            let unit = named(&init, &name, |init| build(index, init))?;
            let refused = refused(format!("{name}, after {before}"));
            state = match unit.declared_shape() {
                Some(shape) => {
                    zero_sample::<S>(shape, DType::F32).map_err(refused)?.with_context_of(&state)
                }
                None => {
                    let next = unit.dry_run(state.clone()).map_err(refused)?;
                    if !next.has_context_of(&state) {
                        return Err(NetError::ChangedContext { unit: index });
                    }
                    next
                }
            };
            self.states.push(state.clone());
            before = name;
        }
        let head = named(&init, "postprocessing", |init| (self.head)(init))?;
        if head.declared_shape().is_none() {
            head.dry_run(state).map_err(refused(format!("{HEAD}, after {before}")))?;
        }
        Ok(())
    }

    /// Uses the state at a position as the sample for a layer's dry run.
    fn at<T: Value>(&self, layer: AnyLayer<S, T>, position: usize, init: &Init) -> AnyLayer<S, T> {
        layer.with_example(self.states[position].clone().to_dtype(init.dtype()))
    }

    fn at_input(&self, layer: AnyLayer<I, S>, init: &Init) -> AnyLayer<I, S> {
        layer.with_example(self.sample.clone().to_dtype(init.dtype()))
    }

    fn build_units(&self, units: &[usize], init: &Init) -> Vec<AnyLayer<S, S>> {
        let unit = |(index, &unit): (usize, &usize)| (self.units[unit])(unit, &init.scope(index));
        units.iter().enumerate().map(unit).collect()
    }
}

/// Builds a layer with its initial weights.
fn named<A: Value, B: Value>(
    init: &Init,
    name: &str,
    build: impl FnOnce(&Init) -> AnyLayer<A, B>,
) -> Result<AnyLayer<A, B>, NetError> {
    super::build::initialized(&init.scope(name), build)
}

/// The names of the stem and the head in messages. The names in parentheses are those of their parameters.
const STEM: &str = "the stem (preprocessing)";
const HEAD: &str = "the head (postprocessing)";

/// Adds the name of a layer to its error.
fn refused(module: String) -> impl FnOnce(ShapeError) -> NetError {
    |source| NetError::Refused { module, source }
}

/// Returns the size of the first tensor of a sample along an axis.
fn first_extent(shape: &SampleShape, axis: usize) -> Option<usize> {
    shape.components().first()?.get(axis).copied()
}

/// Returns true if a layer declares its shape. Such a layer may fail if it is applied to the sample.
fn is_declared<S: Value>(layers: &[AnyLayer<S, S>]) -> bool {
    layers.iter().any(|layer| layer.declared_shape().is_some())
}

/// Applies layers in order.
fn fold<S: Value>(layers: &[AnyLayer<S, S>], state: S) -> S {
    layers.iter().fold(state, |state, layer| layer.forward(state))
}

impl<I: Value, S: Activation, O: Activation> fmt::Debug for Sequential<I, S, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = self.sample.shape().to_string();
        let states: Vec<_> = self.states.iter().map(|state| state.shape().to_string()).collect();
        f.debug_struct("Sequential").field("input", &shape).field("states", &states).finish()
    }
}

impl<I: Value, S: Activation, O: Activation> Clone for Sequential<I, S, O> {
    fn clone(&self) -> Self {
        Self {
            sample: self.sample.clone(),
            stem: Arc::clone(&self.stem),
            units: self.units.clone(),
            head: Arc::clone(&self.head),
            states: self.states.clone(),
            interface_preprocessing: self.interface_preprocessing.clone(),
            coarse: self.coarse.clone(),
            coarse_units: self.coarse_units.clone(),
        }
    }
}

impl<I: Value, S: Activation, O: Activation> FeedForward for Sequential<I, S, O> {
    type Input = I;
    type State = S;
    type Output = O;
    type Preprocessing = AnyLayer<I, S>;
    type Unit = AnyLayer<S, S>;
    type Postprocessing = AnyLayer<S, O>;

    fn units(&self) -> usize {
        self.units.len()
    }

    fn input_shape(&self) -> SampleShape {
        self.sample.shape()
    }

    fn state_shape(&self, position: usize) -> SampleShape {
        self.states[position].shape()
    }

    fn preprocessing(&self, init: &Init) -> AnyLayer<I, S> {
        self.at_input((self.stem)(init), init)
    }

    fn unit(&self, index: usize, init: &Init) -> AnyLayer<S, S> {
        self.at((self.units[index])(index, init), index, init)
    }

    fn postprocessing(&self, init: &Init) -> AnyLayer<S, O> {
        self.at((self.head)(init), self.units.len(), init)
    }
}

impl<I: Value, S: Activation, O: Activation> Coarsen for Sequential<I, S, O> {
    type Coarse = AnyLayer<S, S>;

    fn interface_preprocessing(&self, interface: &Interface, init: &Init) -> AnyLayer<I, S> {
        let built = match &self.interface_preprocessing {
            Some(build) => build(interface, init),
            None => {
                let units: Vec<usize> =
                    (0..interface.position).filter(|&unit| self.changes_shape(unit)).collect();
                if units.is_empty() {
                    (self.stem)(init)
                } else {
                    let stem = (self.stem)(&init.scope(0));
                    let units = self.build_units(&units, &init.scope(1));
                    let is_declared = is_declared(&units) || stem.declared_shape().is_some();
                    let all = layer((stem, units), |(stem, units), input| {
                        fold(units, stem.forward(input))
                    });
                    let shape = self.state_shape(interface.position);
                    if is_declared { all.with_output_shape(shape) } else { all }
                }
            }
        };
        self.at_input(built, init)
    }

    fn coarse(&self, interface: &Interface, init: &Init) -> AnyLayer<S, S> {
        let built = match &self.coarse {
            Some(build) => build(interface, init),
            None => {
                let units = self.build_units(&self.coarse_units(interface), init);
                let is_declared = is_declared(&units);
                let all = layer(units, |units, state| fold(units, state));
                let shape = self.state_shape(interface.next);
                if is_declared { all.with_output_shape(shape) } else { all }
            }
        };
        self.at(built, interface.position, init)
    }
}
