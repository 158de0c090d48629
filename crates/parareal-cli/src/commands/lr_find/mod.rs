//! `lr-find`: a short training with growing learning rates, to find a suitable one.

mod plot;

use std::time::Instant;

use parareal_train::{
    FallingRange, Format, OutputFile, ProcessGroup, RangeTest, RangeTestEnd, RangeTestResult,
    RangeTestStep,
};
use parareal_vision::{Config, Settings, WorkerCount, range_test};
use serde_json::json;

use crate::arguments::LrFind;
use crate::commands::loading::Loading;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::output::{count, duration, note, result, table};
use crate::status_line::StatusLine;
use crate::{interrupt, network_text};

/// Factor by which suggested learning rates reach beyond the range in which the loss falls. The best rate of a complete
/// training is often larger than that of the first steps.
const AROUND: f64 = 3.0;
/// Number of rows of the table, without the heading.
const ROWS: usize = 11;

pub(crate) fn run(arguments: LrFind) -> Result<Ending, Failure> {
    let LrFind { config, lowest, highest, steps, plot, overwrite, json, flags } = arguments;
    let test = RangeTest { lowest, highest, steps };
    test.check()?;
    let plot = plot.as_deref().map(|path| OutputFile::new(path, &[Format::Svg], overwrite));
    let plot = plot.transpose()?;
    let group = ProcessGroup::alone();
    let file = config.as_deref().map(Settings::read).transpose()?;
    let settings = flags.settings.or(file.unwrap_or_default());
    if settings.workers == Some(WorkerCount::Auto) {
        return Err(Failure::automatic_workers());
    }
    let settings = Settings { executor: None, link_dtype: None, ..settings };
    let config = Config::resolve_with(&group, settings)?;
    if config.needs_balance() {
        note("measuring the costs of the components to balance the cuts");
    }
    let config = config.balance(&group)?;
    if config.distill.is_some() {
        note(
            "`distill` is left out: the test starts with the weights of `init-from` and new interfaces",
        );
    }
    let title = format!(
        "{}, N = {}, {}, batch {}{}",
        config.network.net.name(),
        config.network.cuts.subnetworks(),
        config.dataset,
        config.run.batch_size,
        network_text::step_details(&config),
    );
    note(&format!(
        "{title}: {} with learning rates from {lowest} to {highest}",
        count(steps, "step")
    ));
    let found = tested(&config, &test)?;
    if json {
        result(&as_json(&found))?;
    } else {
        result(&as_text(&found, &test))?;
    }
    if found.end == RangeTestEnd::Interrupted {
        if plot.is_some() {
            note("no plot was written: the test was interrupted");
        }
        return Ok(Ending::Interrupted);
    }
    if let Some(plot) = plot {
        let drawing = plot::draw(&found, &title).map_err(Failure::Draw)?;
        plot.write(drawing.as_bytes())?;
        note(&format!("wrote the plot to {}", plot.path().display()));
    }
    Ok(Ending::Done)
}

/// Runs the test and shows its progress.
fn tested(config: &Config, test: &RangeTest) -> Result<RangeTestResult, Failure> {
    let mut status = StatusLine::new(test.steps as u64);
    let stop = interrupt::watch("after this step");
    let (mut done, begun) = (0, Instant::now());
    let mut on_step = |&RangeTestStep { learning_rate, loss, .. }: &RangeTestStep| {
        done += 1;
        let left = begun.elapsed().as_secs_f64() / done as f64 * (test.steps - done) as f64;
        status.show(done as u64, || {
            format!(
                "step {done}/{}  learning rate {}  loss {loss:.4}  {} left",
                test.steps,
                rate(learning_rate),
                duration(left)
            )
        });
    };
    let loading = Loading::default();
    Ok(range_test(config, test, &mut on_step, &stop, &|progress| loading.show(progress))?)
}

/// Formats a learning rate with two significant digits.
fn rate(rate: f64) -> String {
    // The scientific notation rounds to significant digits.
    let rounded: f64 = format!("{rate:.1e}").parse().expect("a number that was formatted");
    if rounded >= 1e-4 { rounded.to_string() } else { format!("{rate:.1e}") }
}

fn as_text(found: &RangeTestResult, test: &RangeTest) -> String {
    let (steps, smoothed) = (&found.steps, found.smoothed());
    let mut rows = vec![vec!["learning rate".to_string(), "loss, smoothed".to_string()]];
    let last = steps.len().saturating_sub(1);
    let mut shown: Vec<usize> = (0..ROWS).map(|row| row * last / (ROWS - 1)).collect();
    shown.dedup();
    shown.retain(|&step| step < steps.len());
    rows.extend(
        shown
            .iter()
            .map(|&step| vec![rate(steps[step].learning_rate), format!("{:.4}", smoothed[step])]),
    );
    let done = count(steps.len(), "step");
    let end = match found.end {
        RangeTestEnd::Complete => format!("all {done} trained"),
        RangeTestEnd::Diverged => format!("the loss diverged after {done} of {}", test.steps),
        RangeTestEnd::Interrupted => format!("interrupted after {done} of {}", test.steps),
    };
    let advice = match found.falling() {
        Some(FallingRange { steepest, lowest, is_open: false }) => format!(
            "the loss falls fastest at {} and is lowest at {}: try learning rates from {} to {}",
            rate(steepest),
            rate(lowest),
            rate(steepest / AROUND),
            rate(lowest * AROUND),
        ),
        Some(FallingRange { steepest, .. }) => format!(
            "the loss falls fastest at {}, and still falls at the end: raise --highest",
            rate(steepest)
        ),
        None if found.end == RangeTestEnd::Interrupted => "no suggestion from these steps".into(),
        None => "the loss does not fall clearly: try more --steps, or another range".into(),
    };
    format!("{}\n{end}; {advice}", table(&rows))
}

fn as_json(found: &RangeTestResult) -> String {
    json!({
        "steps": found.steps,
        "smoothed": found.smoothed(),
        "end": found.end,
        "falling": found.falling(),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use parareal_train::RangeTestStep;

    use super::*;

    #[test]
    fn learning_rates_have_two_digits() {
        let texts = [1.234e-5, 0.000_99, 0.0512, 0.5, 1.0, 12.3].map(rate);
        assert_eq!(texts, ["1.2e-5", "0.00099", "0.051", "0.5", "1", "12"]);
    }

    #[test]
    fn short_results_are_shown_without_a_suggestion() {
        for count in 0..3 {
            let step = RangeTestStep { learning_rate: 0.1, loss: 2.0 };
            let found = RangeTestResult { steps: vec![step; count], end: RangeTestEnd::Diverged };
            let text = as_text(&found, &RangeTest::default());
            assert_eq!(text.lines().count(), 2 + count, "{text}");
            assert!(text.contains("does not fall clearly"), "{text}");
            plot::draw(&found, "title").unwrap();
        }
    }
}
