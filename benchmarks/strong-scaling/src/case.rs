//! One network with one batch, in all ways.

use std::fmt;
use std::path::Path;

use parareal_text::count;
use serde::{Deserialize, Serialize};

use crate::Result;
use crate::contestant::{Contestant, trial};
use crate::measurement::Measurement;
use crate::network::{Coarse, Network, SerialLayout};
use crate::peer::Peer;
use crate::prediction::Predictor;

/// Number of steps with which the fastest of several settings is found.
const TRIALS: usize = 4;

/// A depth and a batch, on a number of cores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) depth: usize,
    pub(crate) batch: usize,
    pub(crate) cores: usize,
    /// Timed steps of each way.
    pub(crate) rounds: usize,
}

/// One way to compute the step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The way, the same for all depths and batches.
    pub(crate) name: String,
    /// Threads, or PyTorch's variant.
    pub(crate) setting: String,
    pub(crate) measurement: Measurement,
    /// Step that `parareal plan` predicts from the costs of the components, in seconds. Replicas and PyTorch have
    /// none.
    #[serde(default)]
    pub(crate) predicted: Option<f64>,
}

impl Row {
    /// Returns the error of the prediction, relative to the measured median.
    pub(crate) fn prediction_error(&self) -> Option<f64> {
        self.predicted.map(|time| time / self.measurement.step - 1.0)
    }
}

impl fmt::Display for Case {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ResNet-{}, batch {}", self.depth, self.batch)
    }
}

impl Case {
    /// Measures all ways, each against the fastest serial setting.
    ///
    /// # Errors
    /// If one of our networks cannot be built or fails. PyTorch's variants that do not run are reported and left out.
    pub(crate) fn measure(
        &self,
        subnetworks: &[usize],
        python: Option<&Path>,
        variants: &[String],
    ) -> Result<Vec<Row>> {
        let &Self { depth, batch, cores, rounds } = self;
        let (mut serial, threads) = self.fastest_serial()?;
        let mut rows = Vec::new();
        let mut add = |name: &str,
                       setting: String,
                       contestant: &mut dyn Contestant,
                       predicted: Option<f64>| {
            let measurement = Measurement::of(contestant, &mut serial, rounds)?;
            let Measurement { step, speedup, .. } = measurement;
            eprintln!(
                "{self}: {name}, {setting}: {:.1} ms, {speedup:.2}{}",
                1e3 * step,
                predicted.map_or(String::new(), |time| format!("; predicted {:.1} ms", 1e3 * time))
            );
            rows.push(Row { name: name.to_owned(), setting, measurement, predicted });
            Result::Ok(())
        };
        let mut predictor = Predictor::new(depth, batch)?;
        // Against itself, which shows the noise.
        let mut again = self.serial(threads)?;
        let predicted = predictor.predict(&again, threads)?;
        add("N = 1", count(threads, "thread"), &mut again, Some(predicted))?;
        drop(again);
        if batch >= cores && cores > 1 {
            let layout = SerialLayout { threads: 1, replicas: cores };
            let mut replicas = Network::serial(depth, batch, layout)?;
            add("N = 1, replicas", count(cores, "replica"), &mut replicas, None)?;
        }
        for &number in subnetworks {
            for (coarse, label) in [(Coarse::Recommended, "recommended"), (Coarse::Paper, "paper")]
            {
                let workers = cores.min(number);
                let mut network = Network::parareal(depth, batch, number, coarse, workers)?;
                let predicted = predictor.predict(&network, 1)?;
                let name = format!("N = {number}, {label}");
                add(&name, count(workers, "worker"), &mut network, Some(predicted))?;
            }
        }
        if let Some(python) = python
            && let Some((mut peer, setting)) = self.fastest_peer(python, variants)
        {
            add("PyTorch", setting, &mut peer, None)?;
        }
        Ok(rows)
    }

    /// Returns the numbers of threads to try.
    fn thread_counts(&self) -> Vec<usize> {
        if self.cores == 1 { vec![1] } else { vec![1, self.cores] }
    }

    fn serial(&self, threads: usize) -> Result<Network> {
        Network::serial(self.depth, self.batch, SerialLayout { threads, replicas: 1 })
    }

    /// Returns the serial network with one thread or a thread for each core, whichever is faster.
    fn fastest_serial(&self) -> Result<(Network, usize)> {
        let mut fastest: Option<(f64, Network, usize)> = None;
        for threads in self.thread_counts() {
            let mut network = self.serial(threads)?;
            network.step()?;
            let time = trial(&mut network, TRIALS)?;
            if fastest.as_ref().is_none_or(|&(least, ..)| time < least) {
                fastest = Some((time, network, threads));
            }
        }
        let (_, network, threads) = fastest.ok_or("no serial setting was tried")?;
        Ok((network, threads))
    }

    /// Returns PyTorch's serial network with the fastest variant and number of threads; `None` if none runs.
    fn fastest_peer(&self, python: &Path, variants: &[String]) -> Option<(Peer, String)> {
        let mut fastest: Option<(f64, Peer, String)> = None;
        for variant in variants {
            for threads in self.thread_counts() {
                let setting = format!("{variant}, {}", count(threads, "thread"));
                let tried = Peer::start(python, threads, variant, self.depth, self.batch)
                    .and_then(|mut peer| Ok((trial(&mut peer, TRIALS)?, peer)));
                match tried {
                    Ok((time, peer)) => {
                        eprintln!("{self}: PyTorch, {setting}: {:.1} ms", 1e3 * time);
                        if fastest.as_ref().is_none_or(|(least, ..)| time < *least) {
                            fastest = Some((time, peer, setting));
                        }
                    }
                    Err(error) => eprintln!("{self}: PyTorch, {setting}: {error}"),
                }
            }
        }
        fastest.map(|(_, peer, setting)| (peer, setting))
    }
}
