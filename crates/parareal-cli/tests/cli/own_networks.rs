//! Runs of other programs with their own networks.

use std::path::Path;

use parareal_testing::{DenseNet, batch, sgd};
use parareal_train::parareal::burn::tensor::DType;
use parareal_train::prelude::*;

use crate::common::{errors, parareal};

/// Trains a network that the command does not know.
fn train(run: &Path) {
    let (inputs, classes) = batch(1, 12, DType::F32);
    let cuts = Cuts::new(6, vec![2, 4]).unwrap();
    let network = DenseNet::residual(vec![8; 7]);
    let model = Model::new(network, cuts, CrossEntropy::default(), sgd());
    let training = TensorDataset::new(inputs, classes).unwrap();
    Trainer::new(model, training).epochs(1).batch_size(6).threads(1).train(run).unwrap();
}

#[test]
fn the_run_of_another_program_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    train(&folder.path().join("mine"));
    for arguments in [
        &["eval", "mine"][..],
        &["predict", "mine", "image.png"],
        &["train", "--resume", "--output", "mine"],
        &["train", "--resume", "--output", "mine", "--epochs", "3"],
        &["train", "--init-from", "mine"],
    ] {
        let output = parareal(folder.path(), arguments);
        let message = errors(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {message}");
        let expected = "mine is the folder of a run of another program, with its own network; \
                        resume or evaluate it with that program\n";
        assert!(message.starts_with("error: ") && message.ends_with(expected), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    let arguments = ["train", "--config", "mine/config.toml", "--output", "next"];
    let message = errors(&parareal(folder.path(), &arguments));
    let expected = "error: mine/config.toml is the configuration of a run of another program, with its own network; \
                    expected settings of `parareal train`\n";
    assert_eq!(message, expected);
    assert!(!folder.path().join("next").exists());
}
