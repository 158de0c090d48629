//! Methods of training on many GPUs, and a search for the best setting of each.

use std::collections::HashMap;
use std::fmt;

use parareal::exec::{Layout, ProgramOptions};
use parareal::net::{Cuts, FeedForward};
use parareal::plan::{Cost, CostModel, Link, PlanError, Prediction, Scenario, Schedule, balance};
use parareal_models::{ImageNetwork, PAPER_BATCH};

use crate::batch::AtBatch;
use crate::machine::{Machine, ring};
use crate::network::{costs, net};
use crate::pipeline::{Stage, averaged, gpipe, stage_cuts};

/// Numbers of pieces to try.
const PIECES: [usize; 13] = [2, 3, 4, 6, 8, 12, 16, 18, 24, 32, 48, 64, 128];
/// Largest number of subnetworks to try. A longer chain is slower in all cases.
const MAX_SUBNETWORKS: usize = 32;
/// Numbers of units whose gradients are averaged together, to try.
const LOTS: [usize; 4] = [4, 16, 64, 333];
/// Smallest factor of speedup for which a setting with more GPUs or pieces is preferred.
const WORTH: f64 = 1.02;

/// A method of distributing a network over GPUs. All methods except [`Self::ModelParallel`] also use
/// replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Replicas of the whole network.
    DataParallel,
    /// Stages that run one after the other.
    ModelParallel,
    /// Stages with micro-batches (GPipe).
    Pipeline { recompute: bool },
    /// Subnetworks of a parareal network.
    Parareal,
}

impl Method {
    /// The methods that are compared with replicas.
    pub(crate) const COMPARED: [Self; 3] =
        [Self::DataParallel, Self::Pipeline { recompute: false }, Self::Parareal];
}

/// The number of GPUs and the total batch size for which a setting is searched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question {
    pub(crate) gpus: usize,
    pub(crate) batch: usize,
    /// See [`AtBatch`].
    pub(crate) fixed: f64,
}

/// A setting of a method, with its predicted speedup.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answer {
    pub(crate) pieces: usize,
    pub(crate) replicas: usize,
    pub(crate) micro_batches: usize,
    /// Number of images over which a batch normalization computes its statistics.
    pub(crate) together: usize,
    /// Images per second, relative to one GPU with [`PAPER_BATCH`] images per step.
    pub(crate) speedup: f64,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pieces, replicas, micro_batches, together, speedup } = self;
        write!(f, "{speedup:.2} ({pieces}×{replicas}")?;
        if *micro_batches > 1 {
            write!(f, ", {micro_batches} micro")?;
        }
        write!(f, "; {together})")
    }
}

/// Search for the best setting of each method on one machine.
pub(crate) struct Planner<'a> {
    net: ImageNetwork,
    machine: &'a Machine,
    /// Cuts by the number of stages, and by the number of subnetworks.
    stages: HashMap<usize, Cuts>,
    subnetworks: HashMap<usize, Vec<Cuts>>,
    /// Duration of a step of one GPU with [`PAPER_BATCH`] images.
    serial: f64,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(machine: &'a Machine) -> Result<Self, PlanError> {
        let net = net();
        let serial = replicated(&costs(&net, 1), 1, Link::FREE)?;
        let (stages, subnetworks) = (HashMap::new(), HashMap::new());
        Ok(Self { net, machine, stages, subnetworks, serial })
    }

    /// Returns the best setting on at most this many GPUs. A setting with more GPUs or pieces must be faster
    /// by the factor [`WORTH`].
    pub(crate) fn best(&mut self, method: Method, ask: Question) -> Result<Answer, PlanError> {
        let pieces = match method {
            Method::DataParallel => vec![1],
            Method::ModelParallel => vec![ask.gpus.min(FeedForward::units(&self.net))],
            _ => [1].into_iter().chain(PIECES).collect(),
        };
        let mut ways: Vec<(usize, usize)> = Vec::new();
        for pieces in pieces.into_iter().filter(|&pieces| pieces <= ask.gpus) {
            let replicas = std::iter::successors(Some(1), |replicas| Some(2 * replicas));
            let fit = |replicas: &usize| {
                pieces * replicas <= ask.gpus && ask.batch.is_multiple_of(*replicas)
            };
            let most = if method == Method::ModelParallel { 1 } else { usize::MAX };
            ways.extend(replicas.take_while(fit).take(most).map(|replicas| (pieces, replicas)));
        }
        ways.sort_by_key(|&(pieces, replicas)| (pieces * replicas, pieces));
        let mut best: Option<Answer> = None;
        for (pieces, replicas) in ways {
            let Some(answer) = self.with(method, ask, pieces, replicas)? else { continue };
            if best.is_none_or(|best| answer.speedup > WORTH * best.speedup) {
                best = Some(answer);
            }
        }
        Ok(best.expect("one GPU is always enough"))
    }

    /// Returns the best setting with this many pieces and replicas, if there is one.
    pub(crate) fn with(
        &mut self,
        method: Method,
        ask: Question,
        pieces: usize,
        replicas: usize,
    ) -> Result<Option<Answer>, PlanError> {
        let answers = self.answers(method, ask, pieces, replicas)?;
        let faster = |best: Answer, other: Answer| match other.speedup > WORTH * best.speedup {
            true => other,
            false => best,
        };
        Ok(answers.into_iter().reduce(faster))
    }

    fn answers(
        &mut self,
        method: Method,
        ask: Question,
        pieces: usize,
        replicas: usize,
    ) -> Result<Vec<Answer>, PlanError> {
        let (images, serial) = (ask.batch / replicas, self.serial);
        let answer = |micro_batches: usize, step: f64| Answer {
            pieces,
            replicas,
            micro_batches,
            together: (images / micro_batches).min(PAPER_BATCH),
            speedup: ask.batch as f64 / PAPER_BATCH as f64 * serial / step,
        };
        let link = self.machine.slowest(pieces * replicas);
        let whole = costs(&self.net, 1);
        Ok(match method {
            Method::Parareal if pieces > MAX_SUBNETWORKS => Vec::new(),
            Method::Parareal if pieces > 1 => {
                let step = self.parareal(ask, pieces, replicas)?.makespan();
                vec![answer(1, step)]
            }
            _ if pieces == 1 && method != Method::ModelParallel => {
                let costs = AtBatch { costs: &whole, images, fixed: ask.fixed };
                vec![answer(1, replicated(&costs, replicas, link)?)]
            }
            _ => {
                let cuts = self.stages.entry(pieces).or_insert_with(|| stage_cuts(&whole, pieces));
                let recompute = method == Method::Pipeline { recompute: true };
                let most = if method == Method::ModelParallel { 1 } else { images };
                let counts = std::iter::successors(Some(1), |count| Some(2 * count));
                let counts = counts.take_while(|count| *count <= most);
                counts
                    .filter(|count| images.is_multiple_of(*count))
                    .map(|count| {
                        let costs =
                            AtBatch { costs: &whole, images: images / count, fixed: ask.fixed };
                        let stages = stages(&costs, cuts, self.machine, replicas);
                        let passes = gpipe(&stages, count, recompute);
                        let ends = stages.iter().zip(passes).map(|(stage, pass)| {
                            let end = |units: usize| {
                                let lots = stage.units.div_ceil(units);
                                let bytes = stage.weights / lots as f64;
                                averaged(pass, lots, ring(replicas, bytes, link))
                            };
                            LOTS.map(end).into_iter().fold(f64::INFINITY, f64::min)
                        });
                        // `C` is averaged separately, as for the other methods.
                        let last = ring(replicas, whole.preprocessing(0).weights, link);
                        answer(
                            count,
                            (last + ends.clone().next().unwrap_or(0.0))
                                .max(ends.fold(0.0, f64::max)),
                        )
                    })
                    .collect()
            }
        })
    }

    /// Returns the best step of a chain of subnetworks.
    pub(crate) fn parareal(
        &mut self,
        ask: Question,
        pieces: usize,
        replicas: usize,
    ) -> Result<Prediction, PlanError> {
        let own = costs(&self.net, pieces);
        if !self.subnetworks.contains_key(&pieces) {
            // The search supports only links of equal speed, so it is run with the fastest and with the
            // slowest link.
            let mut cuts = Vec::new();
            for gpus in [1, usize::MAX] {
                let link = self.machine.slowest(gpus);
                cuts.push(
                    balance(
                        &own,
                        &Layout::threads(pieces, pieces, 1)?,
                        link,
                        ProgramOptions::default(),
                    )?
                    .cuts,
                );
            }
            self.subnetworks.insert(pieces, cuts);
        }
        let images = ask.batch / replicas;
        let costs = AtBatch { costs: &own, images, fixed: ask.fixed };
        let mut best: Option<Prediction> = None;
        for cuts in &self.subnetworks[&pieces] {
            for segment_units in LOTS {
                let scenario = chain(&costs, cuts, self.machine, replicas)?;
                let found = Scenario { schedule: overlap(segment_units), ..scenario }.predict()?;
                if best.as_ref().is_none_or(|best| found.makespan() < best.makespan()) {
                    best = Some(found);
                }
            }
        }
        Ok(best.expect("some cuts were tried"))
    }

    pub(crate) fn serial(&self) -> f64 {
        self.serial
    }
}

/// Returns the schedule of a step whose segments have this many units.
fn overlap(segment_units: usize) -> Schedule {
    Schedule::Overlap(ProgramOptions { segment_units, ..ProgramOptions::default() })
}

/// Returns the duration of a step of replicas of a whole network. Gradients are averaged during the backward
/// pass, in groups of the best size.
fn replicated(costs: &dyn CostModel, replicas: usize, link: Link) -> Result<f64, PlanError> {
    let cuts = Cuts::even(costs.units(), 1)?;
    let layout = Layout::threads(1, 1, replicas)?;
    let scenario = Scenario { link, ..Scenario::new(costs, &cuts, layout)? };
    let mut best = f64::INFINITY;
    for segment_units in LOTS {
        let scenario = Scenario { schedule: overlap(segment_units), ..scenario.clone() };
        best = best.min(scenario.predict()?.makespan());
    }
    Ok(best)
}

/// Returns the scenario of a chain on the GPUs of each replica.
///
/// A scenario has a single link speed, here that of the slowest link. For a faster link, the number of bytes
/// is reduced, so that the transfer takes the right time.
fn chain(
    costs: &dyn CostModel,
    cuts: &Cuts,
    machine: &Machine,
    replicas: usize,
) -> Result<Scenario, PlanError> {
    let pieces = cuts.subnetworks();
    let mut scenario = Scenario::new(costs, cuts, Layout::threads(pieces, pieces, replicas)?)?;
    scenario.link = machine.slowest(pieces * replicas);
    for (index, subnetwork) in scenario.subnetworks.iter_mut().enumerate() {
        let link = machine.behind(index, pieces, replicas);
        subnetwork.output_bytes *= scenario.link.bandwidth / link.bandwidth;
    }
    Ok(scenario)
}

/// Returns the stages of a pipeline.
fn stages(costs: &dyn CostModel, cuts: &Cuts, machine: &Machine, replicas: usize) -> Vec<Stage> {
    let count = cuts.subnetworks();
    let stage = |index: usize| {
        let units = cuts.units_of(index);
        let mut part: Cost = units.clone().map(|unit| costs.unit(unit)).sum();
        if index == 0 {
            part += costs.preprocessing(0);
        }
        if index + 1 == count {
            part += costs.postprocessing();
        }
        let link = machine.behind(index, count, replicas);
        Stage {
            forward: part.forward,
            backward: part.backward(),
            link: link.time(costs.interface_bytes(units.end)),
            weights: part.weights,
            units: units.len(),
        }
    };
    (0..count).map(stage).collect()
}

#[cfg(test)]
mod tests {
    use parareal::net::Interface;

    use super::*;
    use crate::machine::MACHINES;

    /// Units that take 1 s forward and 2 s backward, and have 100 bytes of weights each.
    struct Equal(usize);

    impl CostModel for Equal {
        fn units(&self) -> usize {
            self.0
        }

        fn preprocessing(&self, _: usize) -> Cost {
            Cost::default()
        }

        fn unit(&self, _: usize) -> Cost {
            Cost { forward: 1.0, input_gradient: 2.0, weights: 100.0, ..Cost::default() }
        }

        fn coarse(&self, _: &Interface) -> Cost {
            Cost::default()
        }

        fn postprocessing(&self) -> Cost {
            Cost::default()
        }

        fn interface_bytes(&self, _: usize) -> f64 {
            0.0
        }
    }

    #[test]
    fn data_parallelism_by_hand() {
        let link = |latency| Link { latency, bandwidth: 100.0 };
        let step = |units, replicas, latency| replicated(&Equal(units), replicas, link(latency));
        // Eight units, averaged in groups of four or all at once: forward until 8, backward until 16 and 24.
        // Two replicas exchange 2 · 200 bytes per group: until 20, and until 28.
        assert_eq!(step(8, 2, 0.0).unwrap(), 28.0);
        // Four replicas: six messages of 100 bytes per group, from 24 until 30.
        assert_eq!(step(8, 4, 0.0).unwrap(), 30.0);
        // With two seconds of latency, a group takes 18 s: until 34 and 52. All eight units at once take six
        // messages of 200 bytes, 24 s, starting at 24.
        assert_eq!(step(8, 4, 2.0).unwrap(), 48.0);
        assert_eq!(step(8, 1, 2.0).unwrap(), 24.0);
    }

    fn speedups(machine: &Machine, ask: Question) -> [f64; 3] {
        let mut planner = Planner::new(machine).unwrap();
        Method::COMPARED.map(|method| planner.best(method, ask).unwrap().speedup)
    }

    #[test]
    fn one_gpu_gains_nothing() {
        let found = speedups(&MACHINES[0], Question { gpus: 1, batch: 128, fixed: 0.0 });
        assert!(found.iter().all(|&speedup| (speedup - 1.0).abs() < 1e-9), "{found:?}");
    }

    #[test]
    fn without_links_replicas_gain_what_the_batch_allows() {
        let free = Machine::of_single("free", f64::INFINITY);
        let mut planner = Planner::new(&free).unwrap();
        let mut data = |batch, fixed| {
            let ask = Question { gpus: 8, batch, fixed };
            planner.best(Method::DataParallel, ask).unwrap().speedup
        };
        // The only loss is 50 µs of latency for each message.
        assert!((7.9..8.0).contains(&data(128, 0.0)));
        assert_eq!(data(128, 1.0), 1.0);
        assert!((7.9..8.0).contains(&data(1024, 1.0)));
    }

    #[test]
    fn parareal_gains_where_a_batch_cannot_be_shared() {
        let [nodes, ..] = MACHINES;
        let [data, pipeline, parareal] =
            speedups(&nodes, Question { gpus: 8, batch: 128, fixed: 1.0 });
        assert!(data == 1.0 && (0.99..1.01).contains(&pipeline));
        assert!(parareal > 5.0, "{parareal}");
        // If the batch can be divided, cutting the network has no advantage, and the best setting has one
        // piece.
        let [data, .., parareal] = speedups(&nodes, Question { gpus: 8, batch: 1024, fixed: 1.0 });
        assert_eq!(data, parareal);
    }

    #[test]
    fn stages_one_after_the_other_gain_nothing() {
        let mut planner = Planner::new(&MACHINES[2]).unwrap();
        let ask = Question { gpus: 4, batch: 128, fixed: 0.0 };
        let plain = planner.best(Method::ModelParallel, ask).unwrap();
        assert!(plain.pieces == 4 && plain.speedup < 1.0, "{plain}");
        let with = |planner: &mut Planner, recompute| {
            planner.with(Method::Pipeline { recompute }, ask, 4, 1).unwrap().unwrap().speedup
        };
        let (kept, again) = (with(&mut planner, false), with(&mut planner, true));
        assert!(kept > again && again > plain.speedup, "{kept} {again}");
    }
}
