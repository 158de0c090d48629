//! The memory of values and modules.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{Bool, Float, Int, Tensor};
use parareal_kernels::graph::{MemoryKind, MemoryPlace, TensorMemory, duplicate};

use crate::net::{Value, ValueMapper};

/// Returns the memory of each tensor of a value; `None` if one of them cannot be used by a graph.
pub(super) fn of_value(value: &impl Value) -> Option<Vec<TensorMemory>> {
    let mut memories = Memories(Some(Vec::new()));
    drop(value.clone().map(&mut memories));
    memories.0
}

/// Returns a copy of a value in memory of its own; `None` if one of its tensors cannot be used by a graph.
pub(super) fn copied<V: Value>(value: &V) -> Option<V> {
    let mut copies = duplicate(&of_value(value)?).into_iter();
    Some(value.clone().map(&mut Replacement(&mut copies)))
}

/// Collects the memory of tensors.
struct Memories(Option<Vec<TensorMemory>>);

impl Memories {
    fn add<const D: usize, K: MemoryKind>(&mut self, tensor: Tensor<D, K>) -> Tensor<D, K> {
        match (&mut self.0, TensorMemory::of(tensor.clone())) {
            (Some(memories), Some(memory)) => memories.push(memory),
            _ => self.0 = None,
        }
        tensor
    }
}

impl ValueMapper for Memories {
    fn map_float<const D: usize>(&mut self, tensor: Tensor<D>) -> Tensor<D> {
        self.add(tensor)
    }

    fn map_int<const D: usize>(&mut self, tensor: Tensor<D, Int>) -> Tensor<D, Int> {
        self.add(tensor)
    }

    fn map_bool<const D: usize>(&mut self, tensor: Tensor<D, Bool>) -> Tensor<D, Bool> {
        self.add(tensor)
    }
}

/// Replaces tensors, in their order.
struct Replacement<'a, I>(&'a mut I);

impl<I: Iterator<Item = TensorMemory>> Replacement<'_, I> {
    fn next<const D: usize, K: MemoryKind>(&mut self) -> Tensor<D, K> {
        self.0.next().expect("there is memory for each tensor").into_tensor()
    }
}

impl<I: Iterator<Item = TensorMemory>> ValueMapper for Replacement<'_, I> {
    fn map_float<const D: usize>(&mut self, tensor: Tensor<D>) -> Tensor<D> {
        let is_autodiff = tensor.device().is_autodiff();
        let replaced = self.next();
        if is_autodiff { replaced.autodiff() } else { replaced }
    }

    fn map_int<const D: usize>(&mut self, _: Tensor<D, Int>) -> Tensor<D, Int> {
        self.next()
    }

    fn map_bool<const D: usize>(&mut self, _: Tensor<D, Bool>) -> Tensor<D, Bool> {
        self.next()
    }
}

/// The memory of a module's tensors.
#[derive(Default)]
pub(super) struct ModuleMemory {
    /// Running statistics, other buffers and frozen parameters. A clone shares the id.
    pub(super) buffers: Vec<(ParamId, TensorMemory)>,
    /// Parameters that require a gradient. As long as this value lives, updates are not in place.
    pub(super) parameters: Vec<(ParamId, TensorMemory)>,
    /// True if a tensor cannot be used by a graph.
    has_others: bool,
}

impl ModuleMemory {
    /// Returns the memory of a module; `None` if one of its tensors cannot be used by a graph.
    pub(super) fn of<M: Module>(module: &M) -> Option<Self> {
        let mut memory = Self::default();
        module.visit(&mut memory);
        (!memory.has_others).then_some(memory)
    }

    /// Returns the places of the parameters.
    pub(super) fn places(&self) -> Vec<MemoryPlace> {
        self.parameters.iter().map(|(_, memory)| memory.place()).collect()
    }

    /// Returns copies of the parameters.
    pub(super) fn copied_parameters(self) -> HashMap<ParamId, TensorMemory> {
        let (ids, memories): (Vec<_>, Vec<_>) = self.parameters.into_iter().unzip();
        ids.into_iter().zip(duplicate(&memories)).collect()
    }
}

impl ModuleVisitor for ModuleMemory {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(memory) = TensorMemory::of(param.val()) else {
            self.has_others = true;
            return;
        };
        match param.is_require_grad() {
            true => self.parameters.push((param.id, memory)),
            false => self.buffers.push((param.id, memory)),
        }
    }
}

/// Returns the memory of the gradients of a module; `None` if one of them cannot be used by a graph.
pub(super) fn of_gradients<M: Module>(
    module: &M,
    gradients: &GradientsParams,
) -> Option<Vec<(ParamId, TensorMemory)>> {
    let mut memory = GradientMemory { gradients, memories: Some(HashMap::new()) };
    module.visit(&mut memory);
    Some(memory.memories?.into_iter().collect())
}

struct GradientMemory<'a> {
    gradients: &'a GradientsParams,
    memories: Option<HashMap<ParamId, TensorMemory>>,
}

impl ModuleVisitor for GradientMemory<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        match (&mut self.memories, TensorMemory::of(gradient)) {
            (Some(memories), Some(memory)) => drop(memories.insert(param.id, memory)),
            _ => self.memories = None,
        }
    }
}

/// Registers the gradients of a module's parameters.
pub(super) fn register_gradients<M: Module>(
    module: &M,
    memories: HashMap<ParamId, TensorMemory>,
    gradients: &mut GradientsParams,
) {
    module.visit(&mut Registration { memories, gradients });
}

struct Registration<'a> {
    memories: HashMap<ParamId, TensorMemory>,
    gradients: &'a mut GradientsParams,
}

impl ModuleVisitor for Registration<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(memory) = self.memories.remove(&param.id) {
            self.gradients.register(param.id, memory.into_tensor::<D, Float>());
        }
    }
}

/// Replaces parameters and buffers of a module.
pub(super) struct Replaced(pub(super) HashMap<ParamId, TensorMemory>);

impl ModuleMapper for Replaced {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(memory) = self.0.get(&param.id) else { return param };
        let replaced = memory.clone().into_tensor::<D, Float>();
        param.map(|tensor| match tensor.device().is_autodiff() {
            true => replaced.autodiff().set_require_grad(tensor.is_require_grad()),
            false => replaced,
        })
    }
}
