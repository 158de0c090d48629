//! The optimizer that the settings describe.

use burn::optim::ModuleOptimizer;
use parareal_kernels::{AdamW, Sgd};
use parareal_models::{Architecture, ImageNetwork};

use crate::VisionError;
use crate::settings::{Complete, OptimizerKind};

/// An optimizer with its settings, apart from the learning rate.
#[derive(Clone, Copy, Debug)]
pub enum OptimizerConfig {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam with decoupled weight decay.
    AdamW(AdamW),
}

impl OptimizerConfig {
    /// Returns the optimizer of complete settings.
    pub(crate) fn new(settings: &Complete) -> Self {
        let Complete { momentum, weight_decay, decay_weights_only, .. } = *settings;
        match settings.optimizer {
            OptimizerKind::Sgd => {
                let nesterov = settings.nesterov;
                Self::Sgd(Sgd {
                    momentum,
                    weight_decay,
                    nesterov,
                    decay_weights_only,
                    joins_launches: true,
                })
            }
            OptimizerKind::AdamW => {
                let default = AdamW::default();
                let beta2 = settings.beta2.unwrap_or(default.beta2);
                let beta1 = momentum;
                Self::AdamW(AdamW { beta1, beta2, weight_decay, decay_weights_only, ..default })
            }
        }
    }

    /// Checks the settings of the optimizer.
    ///
    /// # Errors
    /// If a setting has no effect.
    pub(crate) fn check(settings: &Complete) -> Result<(), VisionError> {
        let refused =
            |key, value: String, expected| Err(VisionError::setting(key, value, expected));
        let is_sgd = settings.optimizer == OptimizerKind::Sgd;
        if let Some(beta2) = settings.beta2.filter(|_| is_sgd) {
            return refused("beta2", beta2.to_string(), "sgd has no beta2; leave it unset");
        }
        if settings.nesterov && !is_sgd {
            return refused(
                "nesterov",
                "true".into(),
                "adamw has no Nesterov momentum; leave it unset",
            );
        }
        if settings.nesterov && settings.momentum == 0.0 {
            let expected = "requires a positive momentum; set `momentum`, for example 0.9";
            return refused("nesterov", "true".into(), expected);
        }
        if settings.decay_weights_only && settings.weight_decay == 0.0 {
            let expected =
                "requires a positive weight decay; set `weight-decay`, for example 0.0005";
            return refused("decay-weights-only", "true".into(), expected);
        }
        Ok(())
    }
}

/// Returns the usual optimizer of a network: AdamW for vision transformers, otherwise SGD.
pub(crate) fn usual_kind(architecture: Architecture) -> OptimizerKind {
    match architecture {
        Architecture::Vit { .. } => OptimizerKind::AdamW,
        _ => OptimizerKind::Sgd,
    }
}

/// Returns an optimizer for timing steps, with momentum and weight decay.
pub(crate) fn for_timing(net: &ImageNetwork) -> ModuleOptimizer {
    match usual_kind(net.architecture()) {
        OptimizerKind::Sgd => {
            let sgd = Sgd { momentum: 0.9, weight_decay: 5e-4, ..Sgd::default() };
            Sgd { joins_launches: true, ..sgd }.into()
        }
        OptimizerKind::AdamW => AdamW { weight_decay: 0.05, ..AdamW::default() }.into(),
    }
}

impl From<OptimizerConfig> for ModuleOptimizer {
    fn from(config: OptimizerConfig) -> Self {
        match config {
            OptimizerConfig::Sgd(sgd) => sgd.into(),
            OptimizerConfig::AdamW(adamw) => adamw.into(),
        }
    }
}
