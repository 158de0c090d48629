//! Times of the activities of a worker's device.

use std::time::Instant;

use burn::backend::ProfileDuration;
use burn::tensor::Device;

use super::device::is_cpu;
use super::stamp::Stamp;
use super::trace::{ExecutedInstruction, WorkerTrace};
use crate::timeline::{Activity, Span};

/// The times of a worker in one step.
#[derive(Debug, Default)]
pub(super) struct StepTimes {
    /// The activities of the device, in order.
    activities: Vec<Record>,
    /// The time at which the worker chose its first instruction.
    begin: Option<Instant>,
    /// The executed instructions in order, timed with the host's clock.
    instructions: Vec<Executed>,
}

/// An activity of a worker for one of its subnetworks.
#[derive(Clone, Copy, Debug)]
struct Record {
    subnetwork: usize,
    activity: Activity,
    begin: Instant,
    end: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Executed {
    instruction: usize,
    arrival: Option<Instant>,
    end: Instant,
}

impl StepTimes {
    /// Returns the activities, in seconds since `begun`. `worker` is the index of this worker among all
    /// workers.
    pub(super) fn spans(&self, worker: usize, begun: Instant) -> impl Iterator<Item = Span> {
        let seconds = move |at: Instant| at.saturating_duration_since(begun).as_secs_f64();
        self.activities.iter().map(move |&Record { subnetwork, activity, begin, end }| Span {
            device: worker,
            subnetwork,
            activity,
            begin: seconds(begin),
            end: seconds(end),
        })
    }

    /// Returns the instructions, with times since `begun`. `worker` is the index of this worker among all
    /// workers.
    pub(super) fn trace(&self, worker: usize, begun: Instant) -> WorkerTrace {
        let since = |at: Instant| at.saturating_duration_since(begun);
        let executed = self.instructions.iter().map(|own| ExecutedInstruction {
            instruction: own.instruction,
            arrival: own.arrival.map(since),
            end: since(own.end),
        });
        let begin = self.begin.map(since).unwrap_or_default();
        WorkerTrace { worker, begin, executed: executed.collect() }
    }
}

/// Measures the start and end times of a worker's instructions, and of the activities of its device.
///
/// On the CPU, and on devices without their own clock, the host's clock is read. On other devices, a stamp is
/// queued at the beginning and the end of an activity, and [`Self::finish`] reads the times of the stamps.
/// These are therefore times of execution, not of submission. A stamp makes Burn submit the operations that
/// it holds back for fusion. To avoid this, consecutive activities of the same kind and subnetwork are
/// measured as one on these devices.
pub(super) struct Clock {
    device: Device,
    /// The start of the step.
    epoch: Instant,
    /// The time at which the worker chose its first instruction.
    begin: Instant,
    open: Option<Open>,
    closed: Vec<Closed>,
    instructions: Vec<Executed>,
}

struct Open {
    subnetwork: usize,
    activity: Activity,
    begin: Instant,
    /// The stamp in the device's queue.
    stamp: Option<Stamp>,
}

struct Closed {
    record: Record,
    /// Times from the device's own clock, available once the device has finished the activity.
    measured: Option<ProfileDuration>,
}

impl Clock {
    pub(super) fn new(device: Device) -> Self {
        let (epoch, instructions) = (Instant::now(), Vec::new());
        Self { device, epoch, begin: epoch, open: None, closed: Vec::new(), instructions }
    }

    /// Starts a step and discards the records of an abandoned one.
    pub(super) fn start(&mut self) {
        self.open = None;
        self.closed.clear();
        self.instructions.clear();
        self.epoch = Instant::now();
    }

    /// Begins an instruction of the worker's program. `work` is the activity and subnetwork of the
    /// instruction, if it has one. Must be called right after the worker has chosen the instruction.
    pub(super) fn begin(&mut self, instruction: usize, work: Option<(Activity, usize)>) {
        // The time of the choice counts as part of the previous instruction. So a message that was found for
        // the new instruction has arrived by `chosen`.
        let chosen = Instant::now();
        match self.instructions.last_mut() {
            Some(before) => before.end = chosen,
            None => self.begin = chosen,
        }
        match work {
            Some((activity, subnetwork)) => self.enter(subnetwork, activity),
            None => self.pause(),
        }
        self.instructions.push(Executed { instruction, arrival: None, end: chosen });
    }

    /// Records that the message that the current instruction waited for has arrived.
    pub(super) fn arrived(&mut self) {
        if let Some(current) = self.instructions.last_mut() {
            current.arrival = Some(Instant::now());
        }
    }

    /// Records that the message of the current instruction had arrived when the worker chose it.
    pub(super) fn had_arrived(&mut self) {
        if let Some(current) = self.instructions.last_mut() {
            current.arrival = Some(current.end);
        }
    }

    /// Ends the current instruction.
    pub(super) fn end(&mut self) {
        self.leave();
        if let Some(current) = self.instructions.last_mut() {
            current.end = Instant::now();
        }
    }

    /// Begins an activity.
    fn enter(&mut self, subnetwork: usize, activity: Activity) {
        if let Some(open) = &self.open
            && open.stamp.is_some()
            && (open.subnetwork, open.activity) == (subnetwork, activity)
        {
            return;
        }
        self.pause();
        // The host's clock is used if the device cannot measure times.
        let stamp = Stamp::new(&self.device);
        self.open = Some(Open { subnetwork, activity, begin: Instant::now(), stamp });
    }

    /// Ends the current activity, unless it has a stamp.
    fn leave(&mut self) {
        // With a stamp the activity stays open, because the next one may be of the same kind.
        if self.open.as_ref().is_some_and(|open| open.stamp.is_none()) {
            self.pause();
        }
    }

    /// Ends the current activity, if there is one, and records it.
    fn pause(&mut self) {
        let Some(Open { subnetwork, activity, begin, stamp }) = self.open.take() else { return };
        let measured = stamp.and_then(Stamp::end);
        let record = Record { subnetwork, activity, begin, end: Instant::now() };
        self.closed.push(Closed { record, measured });
    }

    /// Waits until the device has finished all work, and returns the times.
    pub(super) fn finish(&mut self) -> StepTimes {
        self.pause();
        let is_measured = self.closed.iter().all(|closed| closed.measured.is_some());
        if !is_cpu(&self.device) && !is_measured {
            // An error is returned when the results are read.
            let _ = self.device.sync();
        }
        let epoch = self.epoch;
        let activities = std::mem::take(&mut self.closed).into_iter().map(|closed| {
            let ticks = closed.measured.map(ProfileDuration::resolve);
            match ticks.and_then(pollster::block_on) {
                Some(ticks) => Record {
                    begin: epoch + ticks.start_duration_since(epoch),
                    end: epoch + ticks.end_duration_since(epoch),
                    ..closed.record
                },
                None => closed.record,
            }
        });
        let activities = activities.collect();
        let (begin, instructions) = (Some(self.begin), std::mem::take(&mut self.instructions));
        StepTimes { activities, begin, instructions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activities_on_the_cpu_are_recorded_one_by_one_in_their_order() {
        let mut clock = Clock::new(Device::flex());
        clock.start();
        for (subnetwork, activity) in [
            (0, Activity::FineForward),
            (0, Activity::FineForward),
            (1, Activity::FineForward),
            (1, Activity::Head),
        ] {
            clock.enter(subnetwork, activity);
            clock.leave();
        }
        clock.enter(1, Activity::Update);
        let records = clock.finish().activities;
        let seen: Vec<_> =
            records.iter().map(|record| (record.subnetwork, record.activity)).collect();
        assert_eq!(
            seen,
            [
                (0, Activity::FineForward),
                (0, Activity::FineForward),
                (1, Activity::FineForward),
                (1, Activity::Head),
                (1, Activity::Update),
            ]
        );
        assert!(records.iter().all(|record| clock.epoch <= record.begin));
        assert!(records.iter().all(|record| record.begin <= record.end));
        assert!(records.windows(2).all(|pair| pair[0].end <= pair[1].begin));
        assert!(clock.finish().activities.is_empty(), "times are given once");
    }

    #[test]
    fn a_step_begins_without_leftovers_of_an_abandoned_one() {
        let mut clock = Clock::new(Device::flex());
        clock.enter(0, Activity::FineForward);
        clock.leave();
        clock.enter(0, Activity::Head);
        clock.start();
        assert!(clock.finish().activities.is_empty());
    }
}
