//! Notes on changes between a checkpoint and the resumed run.

use parareal_kernels::SimdLevel;

use parareal_run::Position;

use crate::checkpoint::Saved;
use crate::{Decay, LearningRate, RunConfig};

/// Returns notes on differences in configuration and machine between a checkpoint and the resumed run.
pub(crate) fn notes(
    saved: &Saved,
    before: &RunConfig,
    now: &RunConfig,
    steps_per_epoch: usize,
) -> Vec<String> {
    let rules = before.learning_rate.rule().zip(now.learning_rate.rule());
    let note =
        rules.and_then(|(old, new)| schedule_note(old, new, saved.position, steps_per_epoch));
    let mut notes: Vec<String> = note.into_iter().collect();
    if before.replicas != now.replicas {
        let replicas = [before, now].map(|config| config.replicas);
        notes.push(replicas_note(replicas, now.sync_batch_norm, now.accumulate));
    }
    let devices = |config: &RunConfig| {
        let names: Vec<String> = config.devices.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    let simd = SimdLevel::current().name().to_string();
    let rounding = [
        ("executor", before.executor.to_string(), now.executor.to_string()),
        ("threads", before.threads.to_string(), now.threads.to_string()),
        ("device", devices(before), devices(now)),
        ("link-dtype", before.link_dtype.to_string(), now.link_dtype.to_string()),
        ("vector instructions", saved.simd.clone().unwrap_or_else(|| simd.clone()), simd),
    ];
    let differing = rounding.into_iter().filter(|(_, then, now)| then != now);
    let differing = differing.map(|(name, then, now)| format!("{name} {now} instead of {then}"));
    let differing: Vec<String> = differing.collect();
    if !differing.is_empty() {
        notes.push(format!(
            "the run continues with {}: it equals an uninterrupted run up to rounding, not bit for \
             bit",
            differing.join("; ")
        ));
    }
    notes
}

/// Describes the consequences of a changed number of replicas.
fn replicas_note([before, now]: [usize; 2], sync_batch_norm: bool, accumulate: usize) -> String {
    let (differs, layers) = match (sync_batch_norm, accumulate) {
        (true, 1) => ("draws its own dropout masks", "dropout"),
        (true, _) => (
            "splits its part into other micro-batches, which are normalized one by one, and draws its own dropout masks",
            "batch normalization or dropout",
        ),
        (false, _) => (
            "normalizes its own part of a batch and draws its own dropout masks",
            "batch normalization or dropout",
        ),
    };
    let replicas = if now == 1 { "replica" } else { "replicas" };
    format!(
        "each batch is now split over {now} {replicas} instead of {before}: each replica {differs}, so a run with {layers} \
         continues differently; any other run equals an uninterrupted one up to rounding"
    )
}

/// Describes the learning rates before and after a change of the schedule; `None` if it has not
/// changed, or no step is left.
fn schedule_note(
    old: &LearningRate,
    new: &LearningRate,
    position: Position,
    steps_per_epoch: usize,
) -> Option<String> {
    let Position { step, epoch, epoch_steps: done, .. } = position;
    let next = if done == steps_per_epoch { (epoch + 1, 0) } else { (epoch, done) };
    if old == new || next.0 > new.epochs {
        return None;
    }
    let schedule = match (&old.decay, &new.decay) {
        (Decay::Step(old), Decay::Step(new)) if old == new => match new.is_empty() {
            true => "no milestones are set".into(),
            false => format!("milestones {} are unchanged", list(new)),
        },
        (Decay::Step(old), Decay::Step(new)) => {
            format!("milestones {} replace {}", list(new), list(old))
        }
        _ => format!("the cosine spans {} epochs instead of {}", new.epochs, old.epochs),
    };
    let last = step + (steps_per_epoch - done) + (new.epochs - epoch) * steps_per_epoch;
    let rates = [
        old.of_step(epoch, done.saturating_sub(1), steps_per_epoch),
        new.of_step(next.0, next.1, steps_per_epoch),
        new.of_step(new.epochs, steps_per_epoch - 1, steps_per_epoch),
    ];
    let [before, next, end] = rates.map(three_digits);
    Some(format!(
        "learning rate: {schedule}; it was {before} in step {step}, and will be {next} in step {} \
         and {end} in the last step, {last}",
        step + 1
    ))
}

fn list(milestones: &[usize]) -> String {
    let epochs: Vec<String> = milestones.iter().map(ToString::to_string).collect();
    if epochs.is_empty() { "none".into() } else { epochs.join(",") }
}

/// Rounds a rate to three digits.
fn three_digits(rate: f64) -> String {
    let rounded: f64 = format!("{rate:.2e}").parse().unwrap_or(rate);
    format!("{rounded:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_replicas_matter_to_batch_normalization_and_dropout_only() {
        let apart = replicas_note([1, 2], false, 1);
        let begin = "each batch is now split over 2 replicas instead of 1: each replica normalizes";
        assert!(apart.starts_with(begin), "{apart}");
        assert!(apart.ends_with("any other run equals an uninterrupted one up to rounding"));
        let together = replicas_note([2, 1], true, 1);
        assert!(together.contains("1 replica instead of 2"), "{together}");
        assert!(!together.contains("normaliz"), "{together}");
        let parts = replicas_note([1, 2], true, 3);
        assert!(parts.contains("so a run with batch normalization or dropout"), "{parts}");
    }

    #[test]
    fn the_rates_around_a_change_are_noted() {
        let position = Position { step: 40, epoch: 2, epoch_steps: 20, ..Position::default() };
        let cosine =
            |epochs| LearningRate { base: 0.1, decay: Decay::Cosine, warmup_epochs: 0.0, epochs };
        let note = schedule_note(&cosine(2), &cosine(4), position, 20).unwrap();
        assert_eq!(
            note,
            "learning rate: the cosine spans 4 epochs instead of 2; it was 0.000154 in step 40, and \
             will be 0.05 in step 41 and 3.85e-5 in the last step, 80"
        );
        assert_eq!(schedule_note(&cosine(2), &cosine(2), position, 20), None);
        let step = |milestones: &[usize], epochs| {
            let decay = Decay::Step(milestones.to_vec());
            LearningRate { base: 0.1, decay, warmup_epochs: 0.0, epochs }
        };
        let note = schedule_note(&step(&[1], 2), &step(&[1], 3), position, 20).unwrap();
        assert_eq!(
            note,
            "learning rate: milestones 1 are unchanged; it was 0.01 in step 40, and will be 0.01 in \
             step 41 and 0.01 in the last step, 60"
        );
        let within = Position { step: 30, epoch: 2, epoch_steps: 10, ..position };
        let note = schedule_note(&step(&[], 2), &step(&[2], 3), within, 20).unwrap();
        assert_eq!(
            note,
            "learning rate: milestones 2 replace none; it was 0.1 in step 30, and will be 0.1 in step 31 \
             and 0.01 in the last step, 60"
        );
    }
}
