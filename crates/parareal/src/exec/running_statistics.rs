//! Merging of the updates of running statistics.
//!
//! [`RunningState::update`](burn::module::RunningState::update) keeps an update under the id of the calling
//! thread. The value that visitors see changes when that thread updates again, or when the module is
//! converted ([`Module::valid`]). Until then, named tensors, replicas and the moving average would lag by one
//! step, and a later step on another thread would start from the older value. So updates are merged after
//! each forward pass in training mode.

use std::collections::HashMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};

/// Merges the pending updates of a module's running statistics.
pub(super) fn merge<M: Module>(module: &M) {
    // The converted module is not needed. It shares its statistics with the original, and the conversion
    // synchronizes them.
    drop(module.valid());
}

/// Decides whether the running statistics of a module have to be merged after a forward pass.
///
/// Converting a module with thousands of parameters takes time. Layers that write their statistics
/// immediately do not need the conversion, but nothing in a module's interface distinguishes them from other
/// layers. So the first forward pass decides. The module needs no merging if this pass has changed every
/// buffer, and merging has changed none of them. If the pass has not changed a buffer, the buffer may still
/// be updated in a later pass. The module is then merged after every pass, which is always correct.
pub(super) enum Merging {
    /// Before the first forward pass. Contains the current values of the buffers.
    Undecided(HashMap<ParamId, TensorData>),
    Needed,
    NotNeeded,
}

impl Merging {
    /// Creates the state of a module that has no pending updates.
    pub(super) fn of<M: Module>(module: &M) -> Self {
        let buffers = buffers(module);
        if buffers.is_empty() { Self::NotNeeded } else { Self::Undecided(buffers) }
    }

    /// Merges the running statistics of the module after a forward pass, if needed.
    pub(super) fn after_forward<M: Module>(&mut self, module: &M) {
        match self {
            Self::NotNeeded => {}
            Self::Needed => merge(module),
            Self::Undecided(before) => {
                let passed = buffers(module);
                merge(module);
                let has_changed =
                    |(id, data): (&ParamId, &TensorData)| before.get(id) != Some(data);
                let is_needed = !passed.iter().all(has_changed) || buffers(module) != passed;
                *self = if is_needed { Self::Needed } else { Self::NotNeeded };
            }
        }
    }

    /// Adapts to new values that have been loaded into the module.
    pub(super) fn after_load<M: Module>(&mut self, module: &M) {
        if let Self::Undecided(before) = self {
            *before = buffers(module);
        }
    }
}

/// Visits a module as if none of its parameters were frozen. Tensors that require no gradient are then
/// buffers.
pub(super) fn visit_unfrozen<M: Module>(module: &M, visitor: &mut impl ModuleVisitor) {
    module.clone().set_require_grad(true).visit(visitor);
}

/// Returns the running statistics and other buffers.
fn buffers<M: Module>(module: &M) -> HashMap<ParamId, TensorData> {
    let mut buffers = Buffers(HashMap::new());
    visit_unfrozen(module, &mut buffers);
    buffers.0
}

struct Buffers(HashMap<ParamId, TensorData>);

impl ModuleVisitor for Buffers {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if !param.is_require_grad() {
            self.0.insert(param.id, param.val().into_data());
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::RunningState;
    use burn::tensor::Device;

    use super::*;

    #[derive(Module, Debug)]
    struct Counter {
        value: RunningState<Tensor<1>>,
        #[module(skip)]
        is_late: bool,
    }

    impl Counter {
        fn new(is_late: bool) -> Self {
            let value = Tensor::zeros([1], &Device::flex().autodiff());
            Self { value: RunningState::new(value), is_late }
        }

        fn add(&self, number: f32) {
            self.value.update(self.value.value_sync() + number);
            if !self.is_late {
                self.value.value_sync();
            }
        }

        fn seen(&self) -> f32 {
            self.value.value().into_scalar()
        }
    }

    #[test]
    fn late_updates_are_merged_after_every_pass() {
        let module = Counter::new(true);
        let mut merging = Merging::of(&module);
        for pass in 1..=3 {
            // Each pass runs on a new thread, because passes may run on different threads of a pool.
            std::thread::scope(|scope| drop(scope.spawn(|| module.add(1.0)).join()));
            assert_eq!(module.seen(), pass as f32 - 1.0);
            merging.after_forward(&module);
            assert_eq!(module.seen(), pass as f32);
            assert!(matches!(merging, Merging::Needed));
        }
    }

    #[test]
    fn modules_that_write_at_once_are_not_merged() {
        let module = Counter::new(false);
        let mut merging = Merging::of(&module);
        module.add(1.0);
        merging.after_forward(&module);
        assert!(matches!(merging, Merging::NotNeeded));
    }

    #[test]
    fn a_first_pass_without_an_update_decides_nothing_in_favor_of_speed() {
        let modules = vec![Counter::new(false), Counter::new(true)];
        let mut merging = Merging::of(&modules);
        modules[0].add(1.0);
        merging.after_forward(&modules);
        modules[1].add(1.0);
        merging.after_forward(&modules);
        assert_eq!(modules[1].seen(), 1.0);
        // An update by zero does not change the value, either.
        let module = Counter::new(true);
        let mut merging = Merging::of(&module);
        module.add(0.0);
        merging.after_forward(&module);
        module.add(2.0);
        merging.after_forward(&module);
        assert_eq!(module.seen(), 2.0);
    }

    #[test]
    fn loaded_values_do_not_count_as_changed() {
        let module = Counter::new(true);
        let mut merging = Merging::of(&module);
        module.value.update(Tensor::ones([1], &Device::flex().autodiff()));
        merge(&module);
        merging.after_load(&module);
        merging.after_forward(&module);
        module.add(1.0);
        merging.after_forward(&module);
        assert_eq!(module.seen(), 2.0);
    }

    #[test]
    fn a_module_without_buffers_needs_no_merging() {
        let module: Vec<Counter> = Vec::new();
        assert!(matches!(Merging::of(&module), Merging::NotNeeded));
    }
}
