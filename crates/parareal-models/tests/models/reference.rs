//! Comparison of the network with an independent PyTorch implementation of the paper's equations
//! (`references/parareal_resnet.py`): outputs, loss, all gradients and running statistics.

use std::path::PathBuf;

use burn::tensor::DType;
use parareal_testing::builder;

use crate::fixture::{Fixture, folder};

fn fixtures() -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    paths.sort();
    paths
}

fn check_all(dtype: DType, tolerance: f64) {
    let paths = fixtures();
    assert_eq!(paths.len(), 16);
    for path in paths {
        let fixture = Fixture::read(&path);
        // Rounding errors in single precision are magnified by the 50 layers with a ReLU after each addition.
        if dtype == DType::F32 && fixture.net.depth() == 50 {
            continue;
        }
        let name = path.file_stem().unwrap().to_string_lossy();
        let workers = fixture.cuts.subnetworks();
        for (kind, builder) in
            [("sequential", builder().sequential()), ("threads", builder().workers(workers))]
        {
            let network = fixture.build(&fixture.net, &fixture.cuts, dtype);
            let mut executor = builder.start(network).unwrap();
            fixture.check(&mut *executor, dtype, tolerance, &format!("{name}, {kind}"));
        }
    }
}

#[test]
fn the_network_matches_the_reference_in_double_precision() {
    check_all(DType::F64, 1e-10);
}

#[test]
fn the_network_matches_the_reference_in_single_precision() {
    check_all(DType::F32, 3e-4);
}
