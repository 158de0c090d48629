//! Distillation before the first step of a run.

use std::cell::Cell;
use std::path::Path;

use burn::tensor::DType;
use parareal_run::{DistillationRecord, Line};
use parareal_testing::layers::{batch_norm_network, signals};
use parareal_train::prelude::*;
use tempfile::tempdir;

use crate::common::{SAMPLES, adamw, assert_same, lines, model, samples, sgd_trainer, trainer_of};

/// Trains a network of Burn's layers as a whole, and returns a trainer that cuts it and distills.
fn distilling(folder: &Path) -> Trainer<impl Coarsen<Output = Tensor<2>>, CrossEntropy> {
    let (network, cut) = (batch_norm_network(), Cuts::even(6, 3).unwrap());
    let data = || {
        let (inputs, targets) = signals(1, SAMPLES, DType::F32);
        TensorDataset::new(inputs, targets).unwrap()
    };
    let trainer = |cuts: Cuts| {
        let model = Model::new(network.clone(), cuts, CrossEntropy::default(), adamw());
        Trainer::new(model, data()).epochs(2).batch_size(6).learning_rate(0.01).threads(1)
    };
    let serial = trainer(Cuts::even(6, 1).unwrap());
    serial.train(folder).unwrap();
    let weights = serial.load(folder, CheckpointChoice::Latest).unwrap().state_dict();
    let initial = InitialWeights { weights: weights.units_only(), note: "of a serial run".into() };
    trainer(cut).workers(2).initial_weights(initial).distillation(Distillation::new(20))
}

fn records(run: &Path) -> Vec<DistillationRecord> {
    let records = lines(run).into_iter().filter_map(|line| match line {
        Line::Distillation(record) => Some(record),
        _ => None,
    });
    records.collect()
}

/// Counts the steps of the distillation.
struct Counter<'a>(&'a Cell<usize>);

impl Observer for Counter<'_> {
    fn on_distillation(&mut self, record: &DistillationRecord) {
        assert_eq!((record.step, record.steps), (self.0.get() + 1, 20));
        self.0.set(record.step);
    }
}

#[test]
fn a_network_of_burns_layers_is_distilled_interrupted_and_resumed() {
    let folder = tempdir().unwrap();
    let trainer = distilling(&folder.path().join("serial"));
    let [whole, run] = ["whole", "run"].map(|name| folder.path().join(name));
    trainer.train(&whole).unwrap();
    let records = records(&whole);
    assert_eq!((records[0].step, records[records.len() - 1].step), (1, 20));
    for (first, last) in records[0].interfaces.iter().zip(&records[records.len() - 1].interfaces) {
        assert!(last.preprocessing < first.preprocessing, "{first:?}, {last:?}");
        assert!(last.coarse < first.coarse, "{first:?}, {last:?}");
    }

    let done = Cell::new(0);
    let stop = || done.get() >= 3;
    let outcome = trainer.train_with(&run, &mut Counter(&done), &stop).unwrap();
    assert!(outcome.interrupted && outcome.steps == 0 && (3..20).contains(&done.get()));
    assert!(!run.join("checkpoints").exists());
    trainer.resume(&run).unwrap();
    assert_same(&run, &whole);
    // The run has ended, so nothing is distilled.
    done.set(0);
    trainer.resume_with(&run, &mut Counter(&done), &|| false).unwrap();
    assert_eq!(done.get(), 0);
}

#[test]
fn a_distillation_needs_trained_weights_and_interfaces() {
    let folder = tempdir().unwrap();
    let run = folder.path().join("run");
    let message = |trainer: Trainer<_, _>| trainer.train(&run).unwrap_err().to_string();
    let distilling = sgd_trainer().distillation(Distillation::new(5));
    assert!(message(distilling).contains("weights of a trained network"));
    let weights = model(adamw(), &[2]).build(1).unwrap().state_dict();
    let initial = InitialWeights { weights, note: "of a cut network".into() };
    let cut = sgd_trainer().initial_weights(initial).distillation(Distillation::new(5));
    let expected = "invalid value `5` for distill: requires initial weights without interfaces; pass those of a serial \
                    network (`StateDict::units_only`)";
    assert_eq!(message(cut), expected);
    let serial = trainer_of(model(adamw(), &[]), samples(1, SAMPLES)).workers(1);
    let message = message(serial.distillation(Distillation::new(5)));
    assert!(message.contains("a single one has no interface"), "{message}");
    assert!(!run.exists());
}
