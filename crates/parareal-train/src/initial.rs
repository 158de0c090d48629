//! Weights of one run as the initial ones of another.

use parareal::net::{FeedForward, PararealNetwork, StateDict};
use parareal_models::resnet::ResNet;

use crate::checkpoint::{self, ImageRecord};
use crate::{Config, NetworkConfig, TrainError, Which, folder};

/// What a run takes from another one.
pub(crate) struct Initial {
    pub(crate) weights: StateDict,
    /// What that was, in words.
    pub(crate) note: String,
}

impl Initial {
    /// The weights of the run that a configuration starts from, if it does, by its last checkpoint
    /// and the moving average where that has one. Cut another way, or not at all, it gives the
    /// units and what stands before and behind them; interfaces are then as new ones are.
    ///
    /// # Errors
    /// Where there is no such run, it is damaged, or its network has other units or classes.
    pub(crate) fn of(config: &Config, images: &ImageRecord) -> Result<Option<Self>, TrainError> {
        let Some(run) = &config.init_from else { return Ok(None) };
        let before = NetworkConfig::of(&folder::read_config(run)?)?;
        let saved = checkpoint::open(run, Which::Latest)?;
        for (what, theirs, ours) in [
            ("layers", before.net.depth(), config.network.net.depth()),
            ("channels of the images", saved.images.channels, images.channels),
        ] {
            if theirs != ours {
                let expected = format!("a run with {ours} {what} is expected, it has {theirs}");
                return Err(TrainError::setting("init-from", run.display(), expected));
            }
        }
        if !saved.images.has_classes_of(&images.dataset, &images.class_names) {
            return Err(TrainError::OtherClasses {
                path: run.clone(),
                theirs: saved.images.class_names,
                ours: images.class_names.clone(),
            });
        }
        let step = saved.position.step;
        let mut weights = saved.judged();
        let interfaces = config.network.cuts.subnetworks() - 1;
        let new = if before.has_settings_of(&config.network) {
            String::new()
        } else {
            weights = weights.units_only();
            match interfaces {
                0 => String::new(),
                1 => "; the interface starts anew".into(),
                count => format!("; the {count} interfaces start anew"),
            }
        };
        let units = config.network.net.units();
        let note =
            format!("weights of {units} units are those of {} at step {step}{new}", run.display());
        Ok(Some(Self { weights, note }))
    }
}

impl Config {
    /// The network for images of these channels and classes before its first step.
    pub(crate) fn initial_network(
        &self,
        channels: usize,
        classes: usize,
        from: Option<&Initial>,
    ) -> Result<PararealNetwork<ResNet>, TrainError> {
        let network = self.new_network(channels, classes)?;
        let Some(from) = from else { return Ok(network) };
        Ok(network.load(&from.weights)?)
    }
}
