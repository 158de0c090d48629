//! Time of a run, and utilization of its subnetworks and workers.

use serde::{Deserialize, Serialize};

/// Time of the subnetworks and the workers in the training steps; empty if the executor does not run
/// subnetworks one by one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Each subnetwork, in order.
    #[serde(default)]
    pub subnetworks: Vec<SubnetworkUsage>,
    /// Each worker of a replica, in order; empty for runs of earlier versions, which do not record
    /// workers.
    #[serde(default)]
    pub workers: Vec<WorkerUsage>,
}

/// Time of one subnetwork, as fractions of the training steps' duration; the mean over replicas.
///
/// `computing`, `coarse` and `waiting` add up to 1. The two kinds of waiting add up to `waiting`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetworkUsage {
    /// Time in its own units, preprocessing, loss and update.
    pub computing: f64,
    /// Time in its coarse network, as part of the sequential chain through all subnetworks.
    pub coarse: f64,
    /// The remaining time.
    pub waiting: f64,
    /// Waiting while its worker ran other subnetworks; `None` for runs of earlier versions, which do not
    /// record it.
    #[serde(default)]
    pub waiting_for_worker: Option<f64>,
    /// Waiting while its worker was idle: for a neighboring subnetwork, the loss, or gradients of other replicas.
    /// `None` for runs of earlier versions, which do not record it.
    #[serde(default)]
    pub waiting_for_neighbors: Option<f64>,
}

/// Utilization of one worker in the training steps; the mean over replicas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerUsage {
    /// Its subnetworks, from 1.
    pub subnetworks: Vec<usize>,
    /// Fraction of the steps' duration in which it ran one of them. If the run was resumed with a different
    /// number of workers, this is the mean over the workers that have run these subnetworks.
    pub busy: f64,
}

/// Times summed over all steps of a run, in seconds. Steps before interruptions are included.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Times {
    /// Duration of the whole run, including evaluations.
    pub run: f64,
    steps: f64,
    images: f64,
    subnetworks: Vec<Busy>,
    /// Duration of the steps whose subnetworks were timed; `None` without such steps, and in files of
    /// earlier versions, in which all steps were timed.
    timed_steps: Option<f64>,
}

/// Times of one subnetwork in one step, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SubnetworkSeconds {
    /// Its own units, preprocessing, loss and update.
    pub fine: f64,
    /// Its coarse network.
    pub coarse: f64,
    /// Waiting while its worker ran other subnetworks.
    pub queued: f64,
    /// Its worker, from 0.
    pub worker: usize,
}

/// Sums of the times of one subnetwork.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Busy {
    fine: f64,
    coarse: f64,
    /// Waiting while its worker ran other subnetworks; `None` in files of earlier versions.
    queued: Option<f64>,
    /// Its worker in the last step.
    worker: Option<usize>,
}

impl Busy {
    const NONE: Self = Self { fine: 0.0, coarse: 0.0, queued: Some(0.0), worker: None };
}

impl Times {
    /// Adds a step of this duration in seconds with the times of its subnetworks. `subnetworks` is empty if the
    /// executor does not run the subnetworks one by one.
    pub fn add(&mut self, step: f64, subnetworks: &[SubnetworkSeconds]) {
        if !subnetworks.is_empty() {
            let before = if self.subnetworks.is_empty() { 0.0 } else { self.steps };
            *self.timed_steps.get_or_insert(before) += step;
            self.subnetworks.resize(subnetworks.len(), Busy::NONE);
        }
        self.steps += step;
        for (sum, time) in self.subnetworks.iter_mut().zip(subnetworks) {
            sum.fine += time.fine;
            sum.coarse += time.coarse;
            sum.queued = sum.queued.map(|queued| queued + time.queued);
            sum.worker = Some(time.worker);
        }
    }

    /// Adds time between two steps spent waiting for the next batch.
    pub fn wait(&mut self, seconds: f64) {
        self.images += seconds;
    }

    /// Returns the fraction of the training time spent waiting for the next batch.
    #[must_use]
    pub fn waiting_for_data(&self) -> f64 {
        if self.steps > 0.0 { self.images / (self.images + self.steps) } else { 0.0 }
    }

    /// Returns these times with `run` as the duration of the whole run, in seconds.
    #[must_use]
    pub fn until(&self, run: f64) -> Self {
        Self { run, ..self.clone() }
    }

    /// Returns the times as fractions of the training steps' duration.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let steps = self.timed_steps.unwrap_or(self.steps);
        let share = |time: f64| if steps > 0.0 { time / steps } else { 0.0 };
        let of_subnetwork = |time: &Busy| {
            let (computing, coarse) = (share(time.fine), share(time.coarse));
            let waiting = (1.0 - computing - coarse).max(0.0);
            let waiting_for_worker = time.queued.map(|queued| share(queued).min(waiting));
            let waiting_for_neighbors = waiting_for_worker.map(|worker| waiting - worker);
            SubnetworkUsage {
                computing,
                coarse,
                waiting,
                waiting_for_worker,
                waiting_for_neighbors,
            }
        };
        let subnetworks = self.subnetworks.iter().map(of_subnetwork).collect();
        Usage { subnetworks, workers: self.workers(share).unwrap_or_default() }
    }

    /// Returns the workers with their subnetworks; `None` if the worker of a subnetwork is not known.
    fn workers(&self, share: impl Fn(f64) -> f64) -> Option<Vec<WorkerUsage>> {
        let mut workers: Vec<WorkerUsage> = Vec::new();
        let mut last = None;
        for (index, time) in self.subnetworks.iter().enumerate() {
            let busy = share(time.fine + time.coarse + time.queued?);
            let worker = Some(time.worker?);
            if worker != last {
                workers.push(WorkerUsage { subnetworks: Vec::new(), busy: 0.0 });
                last = worker;
            }
            let own = workers.last_mut()?;
            let count = own.subnetworks.len() as f64;
            own.busy = (own.busy * count + busy) / (count + 1.0);
            own.subnetworks.push(index + 1);
        }
        Some(workers)
    }

    /// Returns true if the times are possible. Times read from a damaged file may be impossible.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        let busy = self.subnetworks.iter();
        let busy = busy.flat_map(|busy| [busy.fine, busy.coarse, busy.queued.unwrap_or_default()]);
        let sums = [self.run, self.steps, self.images, self.timed_steps.unwrap_or_default()];
        sums.into_iter().chain(busy).all(|time| (0.0..1e12).contains(&time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(fine: f64, coarse: f64, queued: f64, worker: usize) -> SubnetworkSeconds {
        SubnetworkSeconds { fine, coarse, queued, worker }
    }

    fn step() -> [SubnetworkSeconds; 3] {
        [time(4.0, 0.0, 5.0, 0), time(3.0, 2.0, 4.0, 0), time(5.0, 1.0, 0.0, 1)]
    }

    #[test]
    fn waiting_for_the_worker_is_not_waiting_for_neighbors() {
        let mut times = Times::default();
        times.add(16.0, &step());
        times.add(16.0, &step());
        let Usage { subnetworks, workers } = times.usage();
        let second = SubnetworkUsage {
            computing: 3.0 / 16.0,
            coarse: 2.0 / 16.0,
            waiting: 11.0 / 16.0,
            waiting_for_worker: Some(4.0 / 16.0),
            waiting_for_neighbors: Some(7.0 / 16.0),
        };
        assert_eq!(subnetworks[1], second);
        assert_eq!(subnetworks[2].waiting_for_worker, Some(0.0));
        let both = WorkerUsage { subnetworks: vec![1, 2], busy: 9.0 / 16.0 };
        assert_eq!(workers, [both, WorkerUsage { subnetworks: vec![3], busy: 6.0 / 16.0 }]);
    }

    #[test]
    fn steps_without_times_of_subnetworks_are_left_out() {
        let mut times = Times::default();
        times.add(30.0, &[]);
        assert_eq!(times.usage(), Usage::default());
        times.add(16.0, &step());
        times.add(30.0, &[]);
        assert_eq!(times.usage().subnetworks[0].computing, 0.25);
    }

    /// The first manifests of format 3 do not distinguish the two kinds of waiting.
    #[test]
    fn times_of_an_earlier_version_lack_the_kinds_of_waiting() {
        let saved = r#"{"run":20.0,"steps":16.0,"images":0.0,
            "subnetworks":[{"fine":4.0,"coarse":0.0},{"fine":3.0,"coarse":2.0}]}"#;
        let mut times: Times = serde_json::from_str(saved).unwrap();
        assert!(times.is_possible());
        times.add(16.0, &[time(4.0, 0.0, 5.0, 0), time(3.0, 2.0, 4.0, 0)]);
        let Usage { subnetworks, workers } = times.usage();
        assert_eq!((subnetworks[1].computing, subnetworks[1].waiting), (3.0 / 16.0, 11.0 / 16.0));
        assert_eq!(subnetworks[1].waiting_for_worker, None);
        assert!(workers.is_empty());
    }

    #[test]
    fn times_round_trip_through_a_manifest() {
        let mut times = Times::default();
        times.add(16.0, &step());
        let saved = serde_json::to_string(&times).unwrap();
        assert_eq!(serde_json::from_str::<Times>(&saved).unwrap(), times);
    }
}
