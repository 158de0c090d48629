//! A whole training step.

use std::time::Duration;

use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, Executor, ExecutorBuilder};
use parareal::net::{Init, PararealNetwork};
use parareal_kernels::Sgd;
use parareal_models::{CoarseKind, ImageNetwork, Precision};

use crate::Result;

/// The configuration of the network, and the number of threads.
pub(crate) struct Settings {
    pub(crate) precision: Precision,
    pub(crate) depth: usize,
    pub(crate) subnetworks: usize,
    pub(crate) kind: CoarseKind,
    pub(crate) coarse_units: usize,
    pub(crate) batch: usize,
    pub(crate) workers: usize,
    /// Total number of threads of all workers.
    pub(crate) threads: usize,
    /// Number of units per kept state; `None` if all states are kept.
    pub(crate) keep: Option<usize>,
}

pub(crate) struct Network {
    executor: Box<dyn Executor<ImageNetwork, CrossEntropy>>,
    images: Tensor<4>,
    labels: Tensor<1, Int>,
}

impl Network {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let device = Device::flex();
        let net = ImageNetwork::resnet(settings.depth)?.with_coarse_kind(settings.kind);
        let net =
            net.with_coarse_units(Some(settings.coarse_units)).with_precision(settings.precision);
        let cuts = net.default_cuts(settings.subnetworks)?;
        let network = PararealNetwork::build(&net, &cuts, &Init::new(1, &device))?;
        let optimizer = Sgd { momentum: 0.9, weight_decay: 5e-4, ..Sgd::default() };
        let mut builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer)
            .workers(settings.workers)
            .threads(settings.threads / settings.workers);
        if let Some(units) = settings.keep {
            builder = builder.recompute(units);
        }
        let executor = builder.start(network)?;

        let noise = Distribution::Normal(0.0, 1.0);
        let images = Tensor::random([settings.batch, 3, 32, 32], noise, &device);
        let labels: Vec<i64> = (0..settings.batch as i64).map(|image| image % 10).collect();
        let labels = Tensor::from_data(TensorData::new(labels, [settings.batch]), &device);
        Ok(Self { executor, images, labels })
    }

    pub(crate) fn step(&mut self) -> Result<Duration> {
        let (images, labels) = (self.images.clone(), self.labels.clone());
        Ok(self.executor.train_step(images, labels, 1e-3)?.duration)
    }
}
