//! Reduction of gradients and running statistics over replicas.

use std::collections::{HashMap, VecDeque};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor};

use super::all_reduce::{AllReduce, Bucket};
use super::collectives::Disconnected;
use super::running_statistics::visit_unfrozen;
use super::shared_parameters::accumulate;

/// Reduces tensors over the replicas while the worker computes. Several reductions can be in progress.
pub(super) struct Reducer {
    all_reduce: Box<dyn AllReduce>,
    /// The reductions in progress, each with the index of its subnetwork.
    in_progress: VecDeque<(usize, Packed)>,
}

/// The content of a bucket: the offset of each parameter.
struct Packed {
    offsets: HashMap<ParamId, usize>,
    statistics: bool,
}

impl Reducer {
    pub(super) fn new(all_reduce: Box<dyn AllReduce>) -> Self {
        Self { all_reduce, in_progress: VecDeque::new() }
    }

    /// Replaces each scalar by its sum over the replicas. Blocks until the sums are available. No reduction may be in progress.
    pub(super) fn sum(&mut self, terms: &mut [f64]) -> Result<(), Disconnected> {
        self.all_reduce.sum(terms)
    }

    /// Removes the gradients that a subnetwork's module has so far, and starts summing them.
    pub(super) fn start_gradients<M: Module>(
        &mut self,
        subnetwork: usize,
        module: &M,
        gradients: &mut GradientsParams,
    ) -> Result<(), Disconnected> {
        let mut pack = Pack { from: Some(gradients), factor: 1.0, ..Pack::default() };
        module.visit(&mut pack);
        self.start(subnetwork, pack.bucket, pack.offsets, false)
    }

    /// Starts averaging the running statistics. Those of this replica have the weight `share`.
    pub(super) fn start_statistics<M: Module>(
        &mut self,
        subnetwork: usize,
        module: &M,
        share: f64,
    ) -> Result<(), Disconnected> {
        let mut pack = Pack { factor: share, ..Pack::default() };
        // Frozen weights are equal in all replicas. Averaging them would add a rounding error in every step.
        visit_unfrozen(module, &mut pack);
        self.start(subnetwork, pack.bucket, pack.offsets, true)
    }

    fn start(
        &mut self,
        subnetwork: usize,
        bucket: Option<Bucket>,
        offsets: HashMap<ParamId, usize>,
        statistics: bool,
    ) -> Result<(), Disconnected> {
        let Some(bucket) = bucket else { return Ok(()) };
        self.all_reduce.start(bucket)?;
        self.in_progress.push_back((subnetwork, Packed { offsets, statistics }));
        Ok(())
    }

    /// Waits for the oldest reduction and stores its result. `of` returns the module of a subnetwork and its
    /// gradients. Returns false if no reduction is in progress.
    pub(super) fn finish_next<'a, M: Module + 'a>(
        &mut self,
        of: impl FnOnce(usize) -> (&'a M, &'a mut GradientsParams),
    ) -> Result<bool, Disconnected> {
        let Some((subnetwork, Packed { offsets, statistics })) = self.in_progress.pop_front()
        else {
            return Ok(false);
        };
        let bucket = self.all_reduce.wait()?;
        let (module, gradients) = of(subnetwork);
        match statistics {
            // Clones of a module share its running statistics.
            true => drop(module.clone().map(&mut UnpackStatistics { offsets, bucket: &bucket })),
            false => {
                module.visit(&mut UnpackGradients { offsets, bucket: &bucket, into: gradients })
            }
        }
        Ok(true)
    }
}

/// Packs gradients or running statistics into a bucket.
#[derive(Default)]
struct Pack<'a> {
    /// The gradients; `None` packs running statistics.
    from: Option<&'a mut GradientsParams>,
    factor: f64,
    bucket: Option<Bucket>,
    offsets: HashMap<ParamId, usize>,
}

impl ModuleVisitor for Pack<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match &mut self.from {
            Some(gradients) => gradients.remove::<D>(param.id),
            None => (!param.is_require_grad()).then(|| param.val().inner()),
        };
        let Some(tensor) = tensor else { return };
        let bucket = self.bucket.get_or_insert_with(|| match tensor.dtype() {
            DType::F64 => Bucket::F64(Vec::new()),
            _ => Bucket::F32(Vec::new()),
        });
        self.offsets.insert(param.id, bucket.len());
        bucket.extend(&tensor.into_data(), self.factor);
    }
}

struct UnpackGradients<'a> {
    offsets: HashMap<ParamId, usize>,
    bucket: &'a Bucket,
    into: &'a mut GradientsParams,
}

impl ModuleVisitor for UnpackGradients<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // A parameter that occurs several times has a single sum.
        if let Some(offset) = self.offsets.remove(&param.id) {
            let like = param.val().inner();
            let data = self.bucket.tensor(offset, like.shape().as_slice());
            let gradient = Tensor::<D>::from_data(data, (&like.device(), like.dtype()));
            accumulate(self.into, param.id, gradient);
        }
    }
}

struct UnpackStatistics<'a> {
    offsets: HashMap<ParamId, usize>,
    bucket: &'a Bucket,
}

impl ModuleMapper for UnpackStatistics<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(&offset) = self.offsets.get(&param.id) else { return param };
        param.map(|old| {
            let data = self.bucket.tensor(offset, old.shape().as_slice());
            Tensor::from_data(data, (&old.device(), old.dtype()))
        })
    }
}
