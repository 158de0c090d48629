//! A trained network with the description of its images.

use parareal::net::StateDict;
use parareal_models::ImageNetwork;

/// A network with its weights.
#[derive(Clone, Debug)]
pub struct TrainedNetwork {
    /// The network, with the channels and classes of its images.
    pub net: ImageNetwork,
    /// Parameters and running statistics of all modules, and the cuts.
    pub weights: StateDict,
    /// The images.
    pub images: ImageDescription,
    /// The training step after which the weights were saved.
    pub step: usize,
}

/// Description of the images that a network was trained on, and the preprocessing that other images need.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageDescription {
    /// Name of the data set.
    pub dataset: String,
    /// Width of the black border, in pixels. The size of the images includes it.
    pub padding: usize,
    /// Names of the classes, in the order of the scores.
    pub class_names: Vec<String>,
    /// Mean of each channel, for values from 0 to 1.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel.
    pub deviation: Vec<f32>,
}
