use std::collections::BTreeMap;
use std::time::Duration;

use crate::timeline::Timeline;

/// Times of one subnetwork and its worker in a training step.
///
/// In the rest of the step the worker was idle: it waited for a neighboring subnetwork, the loss, or
/// gradients of other replicas. Devices with a clock of their own report times of execution. For other
/// devices that work asynchronously, these are times of submission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubnetworkTime {
    /// Time of `C_j`, `g_j`, `h`, the loss and the update.
    pub fine: Duration,
    /// Time of `F_{j-1}`, forward and backward.
    pub coarse: Duration,
    /// Time in which the worker ran its other subnetworks.
    pub queued: Duration,
    /// The index of the worker within its replica, from 0.
    pub worker: usize,
}

impl SubnetworkTime {
    /// Returns the time in which the subnetwork itself ran.
    fn own(&self) -> Duration {
        self.fine + self.coarse
    }

    /// Returns the times of the subnetworks in a timeline, in order, averaged over the replicas. Each replica
    /// has `workers` workers.
    pub(super) fn of_step(timeline: &Timeline, workers: usize) -> Vec<Self> {
        let mut times = BTreeMap::<_, Self>::new();
        let mut busy = vec![Duration::ZERO; timeline.devices];
        for span in timeline.spans.iter().filter(|span| span.activity.is_work()) {
            let duration = Duration::from_secs_f64(span.duration());
            busy[span.device] += duration;
            let time = times.entry((span.subnetwork, span.device)).or_default();
            let kind = if span.activity.is_coarse() { &mut time.coarse } else { &mut time.fine };
            *kind += duration;
        }
        let mut sums = BTreeMap::<_, (Self, u32)>::new();
        for ((subnetwork, device), time) in times {
            let (sum, replicas) = sums.entry(subnetwork).or_default();
            sum.fine += time.fine;
            sum.coarse += time.coarse;
            sum.queued += busy[device].saturating_sub(time.own());
            sum.worker = device % workers;
            *replicas += 1;
        }
        let mean = |(sum, replicas): (Self, u32)| Self {
            fine: sum.fine / replicas,
            coarse: sum.coarse / replicas,
            queued: sum.queued / replicas,
            worker: sum.worker,
        };
        sums.into_values().map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::{Activity, Span};

    /// Two replicas with two workers and three subnetworks each. The first worker holds two subnetworks.
    #[test]
    fn waiting_for_other_subnetworks_of_a_worker_is_counted_separately() {
        let spans = [
            (0, 0, Activity::FineForward, [0.0, 2.0]),
            (0, 1, Activity::FineForward, [2.0, 3.0]),
            (0, 1, Activity::ChainForward, [3.0, 4.0]),
            (1, 2, Activity::FineForward, [0.0, 6.0]),
            (2, 0, Activity::FineForward, [0.0, 4.0]),
            (2, 1, Activity::FineForward, [4.0, 7.0]),
            (2, 0, Activity::Transfer, [7.0, 9.0]),
            (3, 2, Activity::Head, [0.0, 8.0]),
        ];
        let span = |(device, subnetwork, activity, [begin, end]): (_, _, _, [f64; 2])| Span {
            device,
            subnetwork,
            activity,
            begin,
            end,
        };
        let timeline = Timeline { devices: 4, spans: spans.map(span).to_vec() };
        let time = |[fine, coarse, queued]: [f64; 3], worker| SubnetworkTime {
            fine: Duration::from_secs_f64(fine),
            coarse: Duration::from_secs_f64(coarse),
            queued: Duration::from_secs_f64(queued),
            worker,
        };
        let expected =
            [time([3.0, 0.0, 2.5], 0), time([2.0, 0.5, 3.0], 0), time([7.0, 0.0, 0.0], 1)];
        assert_eq!(SubnetworkTime::of_step(&timeline, 2), expected);
        assert_eq!(SubnetworkTime::of_step(&Timeline::default(), 1), []);
    }
}
