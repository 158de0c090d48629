//! Times of the components of a step, and predictions from them.

use clap::Args;
use parareal_models::Precision;
use parareal_train::DeviceName;
use parareal_vision::{Bench, Machine, Settings};

use crate::Result;
use crate::images::CLASSES;

/// `parareal bench --json` for the networks of this program.
#[derive(Args)]
pub(crate) struct Components {
    /// Device to measure.
    #[arg(long, default_value = "cuda:0")]
    device: DeviceName,
    /// Layers of the ResNet: 9n + 2.
    #[arg(long, default_value_t = 164)]
    depth: usize,
    /// Numbers of subnetworks.
    #[arg(long, value_delimiter = ',', default_value = "1,3,6")]
    subnetworks: Vec<usize>,
    /// Images per batch.
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    /// Workers that share the subnetworks in the measured steps.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Precision of states: f32 or bf16.
    #[arg(long, default_value_t)]
    precision: Precision,
    /// Repetitions of each component and of the step.
    #[arg(long, default_value_t = 10)]
    repetitions: usize,
}

impl Components {
    pub(crate) fn run(self) -> Result<()> {
        let Self { device, depth, subnetworks, batch_size: batch, workers, precision, .. } = self;
        let bench = Bench {
            settings: Settings {
                depth: Some(depth),
                precision: Some(precision),
                coarse_unit: Some("basic".parse()?),
                ..Settings::default()
            },
            subnetworks,
            classes: CLASSES,
            machine: Machine { device, batch, threads: 1, workers },
            repetitions: self.repetitions,
        };
        let benched = bench.run(&mut |next| eprintln!("measuring {next}"))?;
        println!("{}", serde_json::to_string(&benched)?);
        Ok(())
    }
}
