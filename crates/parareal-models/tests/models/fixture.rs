//! Results of the PyTorch references (`references/parareal_resnet.py`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use parareal::exec::{CrossEntropy, Executor, StateKind};
use parareal::net::{Coarsen, Cuts, FeedForward, NamedTensor, PararealNetwork, StateDict};
use parareal_models::{CoarseKind, ImageNetwork};
use parareal_testing::{assert_all_close, assert_close, init};
use safetensors::{Dtype, SafeTensors};

/// Returns the folder of the fixtures.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The inputs and expected results of a network, or of its head alone.
pub(crate) struct Fixture {
    pub(crate) net: ImageNetwork,
    pub(crate) cuts: Cuts,
    pub(crate) tensors: HashMap<String, TensorData>,
}

impl Fixture {
    pub(crate) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
        let settings = header.metadata().clone().unwrap();
        let number = |key: &str| settings[key].parse::<usize>().unwrap();
        let net = match (settings.get("network"), settings.get("widening")) {
            (Some(name), _) => ImageNetwork::sized(name.parse().unwrap(), number("image_size")),
            (None, Some(widening)) => {
                ImageNetwork::wide_resnet(6 * number("n") + 4, widening.parse().unwrap())
            }
            (None, None) => ImageNetwork::resnet(9 * number("n") + 2),
        };
        let net = net
            .unwrap()
            .with_width(number("width"))
            .with_in_channels(number("in_channels"))
            .with_classes(number("classes"))
            .with_coarse_kind(settings["coarse_unit"].parse::<CoarseKind>().unwrap())
            .with_coarse_units(Some(number("coarse_units")));
        let positions: Vec<usize> = settings["cuts"]
            .split(',')
            .filter(|cut| !cut.is_empty())
            .map(|cut| cut.parse().unwrap())
            .collect();
        let cuts = Cuts::new(net.units(), positions).unwrap();
        assert_eq!(cuts.subnetworks(), number("subnetworks"));
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = tensors.iter().map(|(name, view)| {
            let dtype = match view.dtype() {
                Dtype::F32 => DType::F32,
                Dtype::F64 => DType::F64,
                Dtype::I64 => DType::I64,
                other => panic!("{name} is {other:?}"),
            };
            let data = TensorData::from_bytes_vec(view.data().to_vec(), view.shape(), dtype);
            // In the reference, the names of the units of a coarse network do not contain `units`.
            (name.replace(".coarse.", ".coarse.units."), data)
        });
        let tensors = tensors.collect();
        Self { net, cuts, tensors }
    }

    /// Returns the tensors whose names begin with a prefix. The prefix is removed from the names.
    fn below(&self, prefix: &str) -> HashMap<String, TensorData> {
        let own = |(name, data): (&String, &TensorData)| {
            Some((name.strip_prefix(prefix)?.to_string(), data.clone()))
        };
        self.tensors.iter().filter_map(own).collect()
    }

    /// Builds a network with the initial parameters and statistics of the fixture.
    pub(crate) fn build<N: Coarsen>(
        &self,
        net: &N,
        cuts: &Cuts,
        dtype: DType,
    ) -> PararealNetwork<N> {
        let network = PararealNetwork::build(net, cuts, &init(1, dtype)).unwrap();
        network.load(&StateDict::new(cuts.clone(), self.below("initial/"))).unwrap()
    }

    /// Returns the batch: images, or the states that a head is applied to.
    pub(crate) fn images(&self, dtype: DType) -> Tensor<4> {
        Tensor::from_data(self.tensors["images"].clone(), (&Device::flex(), dtype))
    }

    pub(crate) fn labels(&self) -> Tensor<1, Int> {
        Tensor::from_data(self.tensors["labels"].clone(), &Device::flex())
    }

    /// Asserts that an executor computes the expected results of a training step and of an evaluation.
    pub(crate) fn check<N>(
        &self,
        executor: &mut dyn Executor<N, CrossEntropy>,
        dtype: DType,
        tolerance: f64,
        what: &str,
    ) where
        N: Coarsen<Input = Tensor<4>, Output = Tensor<2>>,
    {
        let close = |found: Tensor<4>, key: &str| {
            assert_close(
                &found.into_data(),
                &self.tensors[key],
                tolerance,
                &format!("{what}: {key}"),
            );
        };
        let close2 = |found: Tensor<2>, key: &str| {
            assert_close(
                &found.into_data(),
                &self.tensors[key],
                tolerance,
                &format!("{what}: {key}"),
            );
        };
        let report = executor.gradients(self.images(dtype), self.labels()).unwrap();
        let loss = TensorData::new(vec![report.loss], [1]);
        assert_close(&loss, &self.tensors["expected/loss"], tolerance, &format!("{what}: loss"));
        close2(report.output, "expected/logits");
        close(report.input.unwrap(), "expected/input_gradient");
        let named = |tensors: HashMap<String, TensorData>| -> Vec<NamedTensor> {
            let named = |(name, data)| NamedTensor { name, data, trainable: true };
            tensors.into_iter().map(named).collect()
        };
        let gradients = named(self.below("gradient/"));
        assert_all_close(&report.gradients, &gradients, tolerance, &format!("{what}: gradient"));
        let state = executor.read(StateKind::Weights).unwrap();
        let buffers: Vec<_> = state.into_iter().filter(|tensor| !tensor.trainable).collect();
        let expected = named(self.below("after/"));
        // A vision transformer has no running statistics.
        assert_eq!(buffers.len(), expected.len(), "{what}: statistics");
        if !expected.is_empty() {
            assert_all_close(&buffers, &expected, tolerance, &format!("{what}: statistics"));
        }
        let output = executor.infer(self.images(dtype)).unwrap();
        close2(output, "expected/evaluation_logits");
    }
}
