//! Comparison of a device with the CPU.

use std::path::PathBuf;

use burn::tensor::{Device, TensorData};
use clap::Args;
use parareal::exec::{CrossEntropy, ExecutorBuilder, StateKind};
use parareal::net::NamedTensor;
use parareal_models::Precision;
use serde_json::{Value, json};

use crate::device::Named;
use crate::network::{Network, optimizer};
use crate::{Result, images};

/// Largest relative difference of the gradient of a single tensor with states in bfloat16. A tensor of zeros has 1.
const MAX_DIFFERENCE: f64 = 0.9;

#[derive(Args)]
pub(crate) struct Agree {
    /// Device to compare with the CPU.
    #[arg(long, default_value = "cuda:0")]
    device: Named,
    /// Layers of the ResNet: 9n + 2.
    #[arg(long, default_value_t = 20)]
    depth: usize,
    /// Numbers of subnetworks, each compared with the whole network on the CPU as one graph.
    #[arg(long, value_delimiter = ',', default_value = "1,3")]
    subnetworks: Vec<usize>,
    /// Images per batch.
    #[arg(long, default_value_t = 32)]
    batch_size: usize,
    /// Training steps.
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Precision of states on both: f32 or bf16.
    #[arg(long, default_value_t)]
    precision: Precision,
    /// Learning rate.
    #[arg(long, default_value_t = 0.01)]
    learning_rate: f64,
    /// Largest relative difference of outputs, of losses, and of all parameters and running statistics together at the end.
    #[arg(long, default_value_t = 1e-3)]
    tolerance: f64,
    /// Largest relative difference of gradients in the first step: with f32 of each tensor, with bf16 of all together, and of each
    /// tensor 0.9 [default: TOLERANCE].
    #[arg(long)]
    gradient_tolerance: Option<f64>,
    /// Folder with CIFAR-10; without it the built-in shapes are used.
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

impl Agree {
    /// Returns true if everything agrees.
    pub(crate) fn run(self) -> Result<bool> {
        let device = self.device.device.clone();
        let mut rows = Vec::new();
        for &subnetworks in &self.subnetworks {
            for launch_graphs in [false, true] {
                // The CPU launches nothing that could be recorded.
                if !launch_graphs || device != Device::flex() {
                    rows.push(self.compare(subnetworks, &device, launch_graphs)?);
                }
            }
        }
        let agrees = rows.iter().all(|row| row["agrees"] == true);
        let result = json!({
            "device": self.device.name,
            "depth": self.depth,
            "batch_size": self.batch_size,
            "steps": self.steps,
            "precision": self.precision.to_string(),
            "tolerance": self.tolerance,
            "gradient_tolerance": self.gradient_tolerance(),
            "agrees": agrees,
            "networks": rows,
        });
        println!("{result}");
        Ok(agrees)
    }

    fn gradient_tolerance(&self) -> f64 {
        self.gradient_tolerance.unwrap_or(self.tolerance)
    }

    fn compare(&self, subnetworks: usize, device: &Device, launch_graphs: bool) -> Result<Value> {
        let coarse_unit = "basic".parse()?;
        let (depth, precision) = (self.depth, self.precision);
        let network = || Network { depth, subnetworks, coarse_unit, precision };
        let builder = ExecutorBuilder::new(CrossEntropy::default(), optimizer());
        let mut expected = builder.clone().sequential().threads(1).start(network().build()?)?;
        let builder = builder.devices([device.clone()]).workers(1);
        let builder = if launch_graphs { builder.launch_graphs() } else { builder };
        let mut found = builder.start(network().build()?)?;

        let batches = images::batches(self.data_dir.clone(), self.batch_size, self.steps + 1)?;
        let mut batches = batches.into_iter();
        let (inputs, targets) = batches.next().ok_or("no batch")?;
        let wanted = expected.gradients(inputs.clone(), targets.clone())?;
        let got = found.gradients(inputs, targets)?;
        let output = difference(&got.output.into_data(), &wanted.output.into_data());
        let gradients = Differences::of(&got.gradients, &wanted.gradients)?;

        let mut losses: f64 = 0.0;
        let (mut replayed_steps, mut replayed_updates) = (0, 0);
        for (inputs, targets) in batches {
            let rate = self.learning_rate;
            let wanted = expected.train_step(inputs.clone(), targets.clone(), rate)?.loss;
            let report = found.train_step(inputs, targets, rate)?;
            replayed_steps += usize::from(report.is_replayed);
            replayed_updates += usize::from(report.is_update_replayed);
            let got = report.loss;
            eprintln!("N = {subnetworks}: loss {got:.6} on the device, {wanted:.6} on the CPU");
            losses = worse(losses, (got - wanted).abs() / wanted.abs());
        }
        let state =
            Differences::of(&found.read(StateKind::Weights)?, &expected.read(StateKind::Weights)?)?;
        // After several steps, a tensor that began as zeros differs by more than a tenth between two executors of one CPU, also in 32-bit
        // floats.
        let worst = [output, losses, state.together].into_iter().fold(0.0, worse);
        let gradients_agree = match precision {
            Precision::F32 => gradients.largest <= self.gradient_tolerance(),
            _ => {
                gradients.together <= self.gradient_tolerance()
                    && gradients.largest <= MAX_DIFFERENCE
            }
        };
        let was_replayed = !launch_graphs || replayed_updates > 0;
        Ok(json!({
            "subnetworks": subnetworks,
            "launch_graphs": launch_graphs,
            "output": output,
            "all_gradients": gradients.together,
            "gradients": gradients.largest,
            "worst_gradient": gradients.name,
            "losses": losses,
            "all_state": state.together,
            "state": state.largest,
            "worst_state": state.name,
            "replayed_steps": replayed_steps,
            "replayed_updates": replayed_updates,
            // NaN does not agree.
            "agrees": worst <= self.tolerance && gradients_agree && was_replayed,
        }))
    }
}

/// Relative differences between tensors of the same names.
struct Differences {
    largest: f64,
    /// The tensor with the largest difference.
    name: String,
    /// The difference of all tensors together.
    together: f64,
}

impl Differences {
    fn of(found: &[NamedTensor], expected: &[NamedTensor]) -> Result<Self> {
        if found.len() != expected.len() {
            return Err("the tensors on the device are not those on the CPU".into());
        }
        let (mut largest, mut name) = (0.0_f64, String::new());
        for (found, expected) in found.iter().zip(expected) {
            if found.name != expected.name {
                let (found, expected) = (&found.name, &expected.name);
                return Err(format!("expected tensor `{expected}`, got `{found}`").into());
            }
            let difference = difference(&found.data, &expected.data);
            // NaN is the largest difference.
            if (difference > largest || difference.is_nan()) && !largest.is_nan() {
                (largest, name) = (difference, found.name.clone());
            }
        }
        Ok(Self { largest, name, together: together(found, expected) })
    }
}

/// Returns `‖a − b‖ / ‖b‖` of all tensors together.
fn together(found: &[NamedTensor], expected: &[NamedTensor]) -> f64 {
    let (mut distance, mut length) = (0.0, 0.0);
    for (found, expected) in found.iter().zip(expected) {
        for (found, expected) in found.data.iter::<f64>().zip(expected.data.iter::<f64>()) {
            distance += (found - expected).powi(2);
            length += expected.powi(2);
        }
    }
    (distance / length).sqrt()
}

/// Returns `‖a − b‖ / max(‖b‖, 1e-6·√n)` for two tensors of n elements.
fn difference(found: &TensorData, expected: &TensorData) -> f64 {
    let norm =
        |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>();
    let pairs = || found.iter::<f64>().zip(expected.iter::<f64>());
    let distance = norm(&mut pairs().map(|(found, expected)| found - expected)).sqrt();
    let length = norm(&mut expected.iter::<f64>()).sqrt();
    distance / length.max(1e-6 * (expected.num_elements() as f64).sqrt())
}

/// Returns the larger of two differences; NaN if either is NaN.
fn worse(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}
