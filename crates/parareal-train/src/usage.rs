//! Time of a run, and utilization of its subnetworks and workers.

use std::time::Duration;

use parareal::exec::SubnetworkTime;
use serde::{Deserialize, Serialize};

/// Time of the subnetworks and the workers in the training steps; nothing where the executor does not
/// run subnetworks one by one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Each subnetwork, in order.
    #[serde(default)]
    pub subnetworks: Vec<SubnetworkUsage>,
    /// Each worker of a replica, in order; empty where an older version has begun the run and not
    /// recorded them.
    #[serde(default)]
    pub workers: Vec<WorkerUsage>,
}

/// Time of one subnetwork in the training steps, as shares. Of several replicas it is the
/// mean.
///
/// `computing`, `coarse` and `waiting` add up to 1, and so do the two kinds of waiting to `waiting`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SubnetworkUsage {
    /// Its own units, preprocessing, loss and update.
    pub computing: f64,
    /// Its coarse network, in the chain that goes through all subnetworks.
    pub coarse: f64,
    /// The rest.
    pub waiting: f64,
    /// Waiting while its worker ran its other subnetworks; `None` where an older version has begun the
    /// run and not recorded it.
    pub waiting_for_worker: Option<f64>,
    /// Waiting while its worker was idle: for a neighboring subnetwork, the loss, or gradients of other
    /// replicas. `None` as above.
    pub waiting_for_neighbors: Option<f64>,
}

/// Utilization of one worker in the training steps. Of several replicas it is the mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WorkerUsage {
    /// The subnetworks that it runs, from 1.
    pub subnetworks: Vec<usize>,
    /// The share of the steps' time in which it ran one of them. Where a run went on with another
    /// number of workers, it is the mean over the workers that have run these subnetworks.
    pub busy: f64,
}

/// Sums over the steps of a run, in seconds, whatever number of processes took them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Times {
    /// All of it, evaluations included.
    pub(crate) run: f64,
    steps: f64,
    images: f64,
    subnetworks: Vec<Busy>,
    /// Steps whose subnetworks were timed. `None` where no step was, or an older version has saved
    /// this: then it is all steps.
    timed_steps: Option<f64>,
}

/// Sums of one subnetwork.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Busy {
    fine: f64,
    coarse: f64,
    /// Time in which its worker ran others; `None` where an older version has not recorded it.
    queued: Option<f64>,
    /// Its worker in the last step.
    worker: Option<usize>,
}

impl Busy {
    const NONE: Self = Self { fine: 0.0, coarse: 0.0, queued: Some(0.0), worker: None };
}

impl Times {
    /// Adds a step. An executor that does not run subnetworks one by one has no times of them.
    pub(crate) fn add(&mut self, step: Duration, subnetworks: &[SubnetworkTime]) {
        let step = step.as_secs_f64();
        if !subnetworks.is_empty() {
            let before = if self.subnetworks.is_empty() { 0.0 } else { self.steps };
            *self.timed_steps.get_or_insert(before) += step;
            self.subnetworks.resize(subnetworks.len(), Busy::NONE);
        }
        self.steps += step;
        for (sum, time) in self.subnetworks.iter_mut().zip(subnetworks) {
            sum.fine += time.fine.as_secs_f64();
            sum.coarse += time.coarse.as_secs_f64();
            sum.queued = sum.queued.map(|queued| queued + time.queued.as_secs_f64());
            sum.worker = Some(time.worker);
        }
    }

    /// Time between two steps in which the images of the next were not ready yet.
    pub(crate) fn wait(&mut self, time: Duration) {
        self.images += time.as_secs_f64();
    }

    /// The share that this has of steps and waiting together.
    pub(crate) fn waiting_for_images(&self) -> f64 {
        if self.steps > 0.0 { self.images / (self.images + self.steps) } else { 0.0 }
    }

    /// These, for a run that has taken so long in all.
    pub(crate) fn until(&self, run: f64) -> Self {
        Self { run, ..self.clone() }
    }

    pub(crate) fn usage(&self) -> Usage {
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

    /// Workers with what they run; `None` where that is not known of all subnetworks.
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

    /// Whether a run can have taken as long.
    pub(crate) fn is_possible(&self) -> bool {
        let busy = self.subnetworks.iter();
        let busy = busy.flat_map(|busy| [busy.fine, busy.coarse, busy.queued.unwrap_or_default()]);
        let sums = [self.run, self.steps, self.images, self.timed_steps.unwrap_or_default()];
        sums.into_iter().chain(busy).all(|time| {
            // As a file may tell of no number, or of less than nothing.
            (0.0..1e12).contains(&time)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(fine: u64, coarse: u64, queued: u64, worker: usize) -> SubnetworkTime {
        let mut time = SubnetworkTime::default();
        time.fine = Duration::from_secs(fine);
        time.coarse = Duration::from_secs(coarse);
        time.queued = Duration::from_secs(queued);
        time.worker = worker;
        time
    }

    fn step() -> [SubnetworkTime; 3] {
        [time(4, 0, 5, 0), time(3, 2, 4, 0), time(5, 1, 0, 1)]
    }

    #[test]
    fn waiting_for_the_worker_is_not_waiting_for_neighbors() {
        let mut times = Times::default();
        times.add(Duration::from_secs(16), &step());
        times.add(Duration::from_secs(16), &step());
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
        times.add(Duration::from_secs(30), &[]);
        assert_eq!(times.usage(), Usage::default());
        times.add(Duration::from_secs(16), &step());
        times.add(Duration::from_secs(30), &[]);
        assert_eq!(times.usage().subnetworks[0].computing, 0.25);
    }

    /// Manifests of format 3 as they were first written do not tell the two kinds of waiting apart.
    #[test]
    fn times_of_an_older_version_go_on_without_what_they_lack() {
        let saved = r#"{"run":20.0,"steps":16.0,"images":0.0,
            "subnetworks":[{"fine":4.0,"coarse":0.0},{"fine":3.0,"coarse":2.0}]}"#;
        let mut times: Times = serde_json::from_str(saved).unwrap();
        assert!(times.is_possible());
        times.add(Duration::from_secs(16), &[time(4, 0, 5, 0), time(3, 2, 4, 0)]);
        let Usage { subnetworks, workers } = times.usage();
        assert_eq!((subnetworks[1].computing, subnetworks[1].waiting), (3.0 / 16.0, 11.0 / 16.0));
        assert_eq!(subnetworks[1].waiting_for_worker, None);
        assert!(workers.is_empty());
    }

    #[test]
    fn times_come_back_from_a_manifest() {
        let mut times = Times::default();
        times.add(Duration::from_secs(16), &step());
        let saved = serde_json::to_string(&times).unwrap();
        assert_eq!(serde_json::from_str::<Times>(&saved).unwrap(), times);
    }
}
