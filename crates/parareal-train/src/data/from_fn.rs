use parareal::net::Value;

use super::source::{BatchIndex, Source, SourceError};

/// Source whose batches are computed by a function ([`from_fn`]).
pub struct FromFn<F> {
    samples: usize,
    batch: F,
}

/// Creates a source of `samples` samples from a function that computes the inputs and the targets of a batch.
///
/// Samples are not shuffled. A function that takes samples from a fixed set can shuffle them with
/// [`Pass::order`](crate::Pass::order), as in the example of [`Source`]. [`Pass::batches`](crate::Pass::batches)
/// lists the batches that a run requests, for example to test the function.
///
/// ```
/// use burn::tensor::{Device, Tensor, TensorData};
/// use parareal_train::{Pass, from_fn};
///
/// // New points in each epoch.
/// let data = from_fn(1_000, |index| {
///     let epoch = match index.pass {
///         Pass::Training { epoch, .. } => epoch,
///         Pass::Evaluation => 0,
///     };
///     let count = index.samples.len();
///     let x = index.samples.clone().map(|i| ((1_000 * epoch + i) as f32 * 0.618) % 1.0);
///     let x = Tensor::<1>::from_data(TensorData::new(x.collect(), [count]), &Device::flex());
///     let x = x.reshape([count, 1]);
///     Ok((x.clone(), x.powf_scalar(2.0)))
/// });
/// # use parareal_train::Source;
/// # fn check(_: impl Source<Input = Tensor<2>, Target = Tensor<2>>) {}
/// # check(data);
/// ```
pub fn from_fn<I, T, F>(samples: usize, batch: F) -> FromFn<F>
where
    I: Value,
    T: Value,
    F: Fn(&BatchIndex) -> Result<(I, T), SourceError> + Send + Sync,
{
    FromFn { samples, batch }
}

impl<I, T, F> Source for FromFn<F>
where
    I: Value,
    T: Value,
    F: Fn(&BatchIndex) -> Result<(I, T), SourceError> + Send + Sync,
{
    type Input = I;
    type Target = T;

    fn samples(&self) -> usize {
        self.samples
    }

    fn batch(&self, index: &BatchIndex) -> Result<(I, T), SourceError> {
        (self.batch)(index)
    }
}
