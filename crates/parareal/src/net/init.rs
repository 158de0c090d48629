use std::fmt::Display;

use burn::module::{Param, RunningState};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, Normal, Uniform};

/// Source of initial parameters, which depend on a seed and on the name of the parameter.
///
/// The values of a parameter do not depend on anything else, such as the device, the modules built before it,
/// or the cuts of the network. So a rank that builds only its own subnetworks gets the same weights as in the
/// whole network.
///
/// ```
/// use burn::tensor::Device;
/// use parareal::net::Init;
///
/// let init = Init::new(7, &Device::flex());
/// let weight = init.scope("units").scope(3).normal("weight", [8, 8], 0.5);
/// assert_eq!(weight.shape().dims(), [8, 8]);
/// ```
#[derive(Clone, Debug)]
pub struct Init {
    seed: u64,
    device: Device,
    dtype: Option<DType>,
    scope: String,
}

impl Init {
    /// Creates a source of parameters on `device`. They are 32-bit floats and require gradients.
    pub fn new(seed: u64, device: &Device) -> Self {
        Self { seed, device: device.clone().autodiff(), dtype: None, scope: String::new() }
    }

    /// Sets a different precision, for example [`DType::F64`], for the same parameter values.
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = Some(dtype);
        self
    }

    /// Returns the seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns the device that parameters are created on. It supports automatic differentiation, so modules
    /// that are initialized on it, such as those of `burn::nn`, are ready to be trained.
    ///
    /// ```
    /// use burn::nn::LinearConfig;
    /// use burn::tensor::Device;
    /// use parareal::net::Init;
    ///
    /// let init = Init::new(7, &Device::flex());
    /// let linear = LinearConfig::new(4, 4).init(init.device());
    /// assert!(linear.weight.val().is_require_grad());
    /// ```
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Returns the precision of the parameters.
    pub fn dtype(&self) -> DType {
        self.dtype.unwrap_or(DType::F32)
    }

    /// Returns the precision that was set; `None` if modules keep their own precision.
    pub(super) fn wanted_dtype(&self) -> Option<DType> {
        self.dtype
    }

    /// Returns a seed that depends on this seed and a parameter's name.
    pub(super) fn seed_of(&self, name: impl Display) -> u64 {
        let bytes = self.seed.to_le_bytes().into_iter().chain(self.name(name).into_bytes());
        // The finalizer of SplitMix64 mixes the bits.
        let mut hash = fnv1a(bytes);
        hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        hash ^ (hash >> 31)
    }

    /// Returns a source with the same seed and a longer name: `units`, `units.3`, `units.3.conv1`.
    pub fn scope(&self, name: impl Display) -> Self {
        let mut inner = self.clone();
        inner.scope = self.name(name);
        inner
    }

    /// Creates a parameter with normally distributed entries of mean 0.
    ///
    /// # Panics
    /// If `deviation` is negative or not finite.
    pub fn normal<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        deviation: f64,
    ) -> Param<Tensor<D>> {
        let normal = Normal::new(0.0, deviation)
            .expect("the standard deviation must be finite and not negative");
        self.sample(name, shape, normal)
    }

    /// Creates a parameter with entries distributed uniformly in `[-bound, bound]`.
    ///
    /// # Panics
    /// If `bound` is negative or not finite.
    pub fn uniform<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        bound: f64,
    ) -> Param<Tensor<D>> {
        let uniform = Uniform::new_inclusive(-bound, bound)
            .expect("the bound must be finite and not negative");
        self.sample(name, shape, uniform)
    }

    /// Creates a parameter whose entries all have the same value.
    pub fn constant<const D: usize>(&self, shape: [usize; D], value: f64) -> Param<Tensor<D>> {
        Param::from_tensor(self.full(shape, value))
    }

    /// Creates a buffer that is updated in training but has no gradient, such as a running mean.
    pub fn running<const D: usize>(
        &self,
        shape: [usize; D],
        value: f64,
    ) -> RunningState<Tensor<D>> {
        RunningState::new(self.full(shape, value))
    }

    fn full<const D: usize>(&self, shape: [usize; D], value: f64) -> Tensor<D> {
        Tensor::full(shape, value, (&self.device, self.dtype()))
    }

    fn sample<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        distribution: impl Distribution<f64>,
    ) -> Param<Tensor<D>> {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&self.seed.to_le_bytes());
        key[8..16].copy_from_slice(&fnv1a(self.name(name).bytes()).to_le_bytes());
        let rng = ChaCha8Rng::from_seed(key);
        let values: Vec<f64> = distribution.sample_iter(rng).take(shape.iter().product()).collect();
        let data = TensorData::new(values, shape);
        Param::from_tensor(Tensor::from_data(data, (&self.device, self.dtype())))
    }

    /// Returns the name in the network of a submodule or parameter; the name of the scope if `path` is empty.
    pub(super) fn name_of(&self, path: String) -> String {
        if path.is_empty() { self.scope.clone() } else { self.name(path) }
    }

    fn name(&self, name: impl Display) -> String {
        if self.scope.is_empty() { name.to_string() } else { format!("{}.{name}", self.scope) }
    }
}

/// Returns the FNV-1a hash of the bytes of a name, which is the same on every machine and in every release.
fn fnv1a(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(init: &Init, name: &str) -> Vec<f64> {
        init.normal(name, [64], 1.0).val().into_data().convert::<f64>().try_into_vec().unwrap()
    }

    #[test]
    fn values_depend_on_seed_and_name_alone() {
        let device = Device::flex();
        let init = Init::new(1, &device).with_dtype(DType::F64);
        assert_eq!(values(&init.scope("a"), "b"), values(&init, "a.b"));
        assert_ne!(values(&init, "a"), values(&init, "b"));
        let other = Init::new(2, &device).with_dtype(DType::F64);
        assert_ne!(values(&init, "a"), values(&other, "a"));
    }

    #[test]
    fn precisions_share_their_values() {
        let init = Init::new(1, &Device::flex());
        let single = values(&init, "a");
        let double = values(&init.with_dtype(DType::F64), "a");
        assert!(single.iter().zip(&double).all(|(s, d)| (s - d).abs() < 1e-6));
    }

    #[test]
    fn parameters_train_and_buffers_do_not() {
        let init = Init::new(1, &Device::flex());
        assert!(init.constant([2], 1.0).val().is_require_grad());
        assert!(!init.running([2], 0.0).value().is_require_grad());
    }
}
