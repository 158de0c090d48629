//! A small network, its data, and helpers for the files of a run.

use std::fs;
use std::path::{Path, PathBuf};

use burn::optim::{AdamWConfig, ModuleOptimizer};
use burn::tensor::{DType, Int, Tensor};
use parareal_run::{DistillationRecord, EpochRecord, Line, StepRecord};
use parareal_testing::{DenseNet, batch, sgd};
use parareal_train::prelude::*;

pub(crate) const SAMPLES: usize = 30;
/// Batch size: an epoch has five steps of six samples.
pub(crate) const BATCH: usize = 6;

pub(crate) type DenseTrainer = Trainer<DenseNet, CrossEntropy>;
pub(crate) type Samples = TensorDataset<Tensor<2>, Tensor<1, Int>>;

pub(crate) fn network() -> DenseNet {
    DenseNet::residual(vec![8; 7])
}

/// Returns samples for a seed: points whose class is the index of their largest coordinate.
pub(crate) fn samples(seed: u64, count: usize) -> Samples {
    let (inputs, _) = batch(seed, count, DType::F32);
    let classes = inputs.clone().argmax(1).reshape([count]);
    TensorDataset::new(inputs, classes).unwrap()
}

pub(crate) fn adamw() -> ModuleOptimizer {
    AdamWConfig::new().with_weight_decay(0.01).init()
}

pub(crate) fn model(optimizer: ModuleOptimizer, cuts: &[usize]) -> Model<DenseNet, CrossEntropy> {
    let cuts = Cuts::new(6, cuts.to_vec()).unwrap();
    Model::new(network(), cuts, CrossEntropy::default(), optimizer)
}

/// Returns a trainer whose results do not depend on the cores of the machine.
pub(crate) fn trainer(optimizer: ModuleOptimizer) -> DenseTrainer {
    trainer_of(model(optimizer, &[2, 4]), samples(1, SAMPLES))
}

pub(crate) fn trainer_of(model: Model<DenseNet, CrossEntropy>, training: Samples) -> DenseTrainer {
    Trainer::new(model, training)
        .validation(samples(2, 20))
        .metric("accuracy", accuracy)
        .epochs(4)
        .batch_size(BATCH)
        .learning_rate(0.01)
        .seed(3)
        .workers(2)
        .threads(1)
        .keep_checkpoints(100)
}

pub(crate) fn sgd_trainer() -> DenseTrainer {
    trainer(sgd())
}

/// Copies the folder of a run.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => {
                fs::copy(&path, target).unwrap();
            }
        }
    }
}

/// Returns the tensor files of all checkpoints of a run, with their paths relative to it.
pub(crate) fn tensor_files(run: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for checkpoint in fs::read_dir(run.join("checkpoints")).unwrap() {
        let checkpoint = checkpoint.unwrap().path();
        if !checkpoint.is_dir() {
            continue;
        }
        for file in fs::read_dir(checkpoint).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                let content = fs::read(&path).unwrap();
                files.push((path.strip_prefix(run).unwrap().to_path_buf(), content));
            }
        }
    }
    files.sort();
    files
}

/// Returns the lines of a run's metrics without times.
pub(crate) fn lines(run: &Path) -> Vec<Line> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let lines = text.lines().map(|line| match serde_json::from_str(line).unwrap() {
        Line::Step(record) => Line::Step(StepRecord { samples_per_second: 0.0, ..record }),
        Line::Epoch(record) => Line::Epoch(EpochRecord { seconds: 0.0, ..record }),
        Line::Distillation(record) => {
            Line::Distillation(DistillationRecord { seconds: 0.0, ..record })
        }
        Line::End(_) => Line::End(Default::default()),
        other => other,
    });
    lines.collect()
}

pub(crate) fn epochs(run: &Path) -> Vec<EpochRecord> {
    let epochs = lines(run).into_iter().filter_map(|line| match line {
        Line::Epoch(record) => Some(record),
        _ => None,
    });
    epochs.collect()
}

/// Returns the step of the checkpoint that is recorded as the best, and the metric.
pub(crate) fn best(run: &Path) -> Option<(u64, String)> {
    let text = fs::read_to_string(run.join("checkpoints/best.json")).ok()?;
    let best: serde_json::Value = serde_json::from_str(&text).unwrap();
    Some((best["step"].as_u64().unwrap(), best["metric"].as_str().unwrap_or_default().into()))
}

/// Asserts that two runs have the same metrics and checkpoints, bit for bit.
#[track_caller]
pub(crate) fn assert_same(run: &Path, other: &Path) {
    assert_eq!(lines(run), lines(other));
    let (files, others) = (tensor_files(run), tensor_files(other));
    let names = |files: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        files.iter().map(|(path, _)| path.clone()).collect()
    };
    assert_eq!(names(&files), names(&others));
    for ((path, content), (_, other)) in files.iter().zip(&others) {
        assert!(content == other, "{} differs", path.display());
    }
    assert_eq!(best(run), best(other));
}
