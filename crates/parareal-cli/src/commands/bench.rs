//! `bench`: measures a step and prints tables like the paper's Tables 2 and 3 for this machine. The paper's
//! values are printed as well if they are for the same network.

use std::time::Duration;

use parareal_train::TimelineFile;
use parareal_vision::{
    Bench, BenchRow, Benched, Machine, Milliseconds, PAPER_BATCH, PAPER_CLASSES, PAPER_DEPTH,
    PAPER_EPOCHS, PAPER_IMAGES, PAPER_ROWS, PAPER_SECONDS, Passes, Settings, WorkerCount,
};

use crate::arguments;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::network_text;
use crate::output::{count, duration, note, percent, result, table};
use crate::status_line::StatusLine;

pub(crate) fn run(flags: &arguments::Bench) -> Result<Ending, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let settings = &flags.flags.settings;
    let (batch, threads) = (given(settings.batch_size), given(settings.threads));
    let epochs = given(settings.epochs);
    let workers = match settings.workers {
        Some(WorkerCount::Auto) => return Err(Failure::automatic_workers()),
        Some(WorkerCount::Count(workers)) => workers,
        None => (cores / threads.max(1)).max(1),
    };
    let device = match given(settings.device.clone()).as_slice() {
        [device] => device.clone(),
        _ => {
            return Err(Failure::Flag(
                "--device is given more than once: expected one device".into(),
            ));
        }
    };
    if flags.overwrite && flags.timeline.is_none() {
        return Err(Failure::without_timeline("--overwrite"));
    }
    let timeline = flags.timeline.as_deref();
    let timeline = timeline.map(|path| TimelineFile::new(path, flags.overwrite));
    let timeline = timeline.transpose()?;
    for (flag, value) in [("--images", flags.images), ("--epochs", epochs)] {
        if value == 0 {
            return Err(Failure::Flag(format!(
                "invalid value `0` for {flag}: expected at least 1"
            )));
        }
    }
    let bench = Bench {
        settings: Settings {
            network: settings.network,
            depth: settings.depth,
            width: settings.width,
            precision: settings.precision,
            image_size: settings.image_size,
            cuts: settings.cuts.clone(),
            coarse_unit: settings.coarse_unit,
            coarse_units: settings.coarse_units,
            ..Settings::default()
        },
        subnetworks: flags.subnetworks.clone(),
        classes: flags.classes,
        machine: Machine { device, batch, threads, workers },
        repetitions: flags.repetitions,
    };
    // Measurements: the kinds of components, the serial network, and each cut network.
    let rounds = 2 + flags.subnetworks.iter().filter(|&&count| count != 1).count();
    let template = "{pos} of {len}, {elapsed}: {wide_msg}";
    let mut status = StatusLine::with_template(rounds as u64, template);
    let mut begun = 0;
    let benched = bench.run(&mut |next| {
        status.show_after(Duration::ZERO, begun, || format!("measuring {next}"));
        begun += 1;
    });
    drop(status);
    let benched = benched?;
    if let (Some(timeline), Some(row)) = (timeline, benched.rows.last()) {
        let title = format!(
            "{}, N = {} on {}, measured",
            benched.network,
            row.subnetworks,
            count(row.clock.workers, "worker")
        );
        let written = timeline.write(&row.clock.measured, &title, None);
        written?;
        note(&format!("wrote the last measured step to {}", timeline.path().display()));
    }
    if flags.json {
        result(&serde_json::to_string(&benched).expect("numbers and names are JSON"))?;
    } else {
        result(&as_text(&benched, epochs, flags.images))?;
    }
    Ok(Ending::Done)
}

/// Returns the value of a flag that has a default.
fn given<T>(value: Option<T>) -> T {
    value.expect("the flag has a default")
}

fn as_text(benched: &Benched, epochs: usize, images: usize) -> String {
    let rows = &benched.rows;
    let paper = match shows_paper(rows) {
        true => format!("; the paper's times are for batch {PAPER_BATCH} on a Titan RTX"),
        false => String::new(),
    };
    let mut sections = vec![
        format!(
            "{}, batch {}, coarse units {}, {} on {}{}; medians in ms, forward/backward",
            benched.network,
            benched.batch_size,
            benched.coarse_unit,
            count(benched.threads, "thread"),
            benched.device,
            network_text::precision(benched.costs.precision),
        ),
        format!(
            "Each component timed alone, as in the paper's Table 2{paper}; spread: the largest \
             interquartile range of a subnetwork's times, relative to its median\n{}",
            table(&parts(rows))
        ),
        format!(
            "Step time and speedup over N = 1: virtual (the sum of the components, as in the paper), \
             predicted for one device per subnetwork with overlap, and measured with the workers of \
             this machine\n{}",
            table(&steps(rows))
        ),
        format!(
            "Step time with the workers of this machine, predicted and measured\n{}",
            table(&clock(rows))
        ),
        format!(
            "Time of {} epochs of {} images, as in the paper's Table 3, from the predicted and the measured \
             step\n{}",
            epochs,
            images,
            table(&hours(rows, benched.batch_size, [epochs, images]))
        ),
    ];
    if !shows_paper(rows) {
        sections.push(format!(
            "The paper's times are not shown: they are for ResNet-{PAPER_DEPTH} with {PAPER_CLASSES} \
             classes, basic coarse units and even cuts (--depth {PAPER_DEPTH} --classes \
             {PAPER_CLASSES} --coarse-unit basic)"
        ));
    }
    sections.join("\n\n")
}

/// Returns true if the paper has times for this network.
fn shows_paper(rows: &[BenchRow]) -> bool {
    rows.iter().any(|row| row.paper.is_some())
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(ToString::to_string).to_vec()
}

fn both(time: Milliseconds) -> String {
    format!("{:.2}/{:.2}", time.forward, time.backward)
}

fn parts(benched: &[BenchRow]) -> Vec<Vec<String>> {
    let shows_paper = shows_paper(benched);
    // The table has a column for the source of each row only if it contains the paper's rows.
    let line = |n: &str, whose: &str, cells: [&str; 6]| {
        let whose = shows_paper.then_some(whose);
        let cells = std::iter::once(n).chain(whose).chain(cells);
        cells.map(ToString::to_string).collect::<Vec<_>>()
    };
    let heads = ["preprocessing", "subnetworks", "coarse", "postprocessing", "total", "spread"];
    let mut rows = vec![line("N", "", heads)];
    for BenchRow { subnetworks, virtual_clock: own, paper, .. } in benched {
        let coarse = if *subnetworks > 1 { both(own.coarse_ms) } else { "-".into() };
        let cells = [
            &both(own.preprocessing_ms),
            &both(own.subnetworks_ms),
            &coarse,
            &both(own.postprocessing_ms),
            &both(own.total_ms),
            &percent(own.spread()),
        ];
        rows.push(line(&subnetworks.to_string(), "here", cells.map(String::as_str)));
        if let Some(paper) = paper {
            let passes = |time: Passes| {
                both(Milliseconds { forward: time.forward, backward: time.backward })
            };
            let cells = [
                passes(paper.preprocessing),
                passes(paper.fine),
                paper.coarse.map_or("-".into(), passes),
                passes(paper.postprocessing),
                passes(paper.total()),
                String::new(),
            ];
            rows.push(line("", "paper", cells.each_ref().map(String::as_str)));
        }
    }
    rows
}

fn steps(benched: &[BenchRow]) -> Vec<Vec<String>> {
    let serial = PAPER_ROWS[0].total();
    let times = |speedup: f64| format!("{speedup:.2}x");
    let mut rows = vec![row([
        "N",
        "virtual",
        "speedup",
        "predicted",
        "speedup",
        "measured",
        "speedup",
        "workers",
    ])];
    rows.extend(benched.iter().map(|each| {
        row([
            &each.subnetworks.to_string(),
            &format!("{:.1}", each.virtual_clock.total_ms.sum()),
            &times(each.virtual_clock.speedup),
            &format!("{:.1}", each.predicted.step_ms),
            &times(each.predicted.speedup),
            &format!("{:.1}", each.measured.step_ms),
            &times(each.measured.speedup),
            &each.measured.devices.to_string(),
        ])
    }));
    if shows_paper(benched) {
        rows[0].insert(3, "paper's".into());
        for (row, each) in rows[1..].iter_mut().zip(benched) {
            let speedup = each.paper.map_or(String::new(), |paper| {
                let total = paper.total();
                times((serial.forward + serial.backward) / (total.forward + total.backward))
            });
            row.insert(3, speedup);
        }
    }
    rows
}

fn clock(benched: &[BenchRow]) -> Vec<Vec<String>> {
    let heads = [
        "N",
        "workers",
        "subnetworks per worker",
        "predicted",
        "measured",
        "spread",
        "prediction error",
    ];
    let mut rows = vec![row(heads)];
    rows.extend(benched.iter().map(|each| {
        let clock = &each.clock;
        let held: Vec<String> = clock.held.iter().map(ToString::to_string).collect();
        row([
            &each.subnetworks.to_string(),
            &clock.workers.to_string(),
            &held.join("+"),
            &format!("{:.1}", clock.predicted_ms),
            &format!("{:.1}", clock.measured_ms),
            &format!("{:.1}", clock.spread_ms),
            &format!("{:+.1} %", 100.0 * clock.error()),
        ])
    }));
    rows
}

fn hours(
    benched: &[BenchRow],
    batch_size: usize,
    [epochs, images]: [usize; 2],
) -> Vec<Vec<String>> {
    let mut rows = vec![row(["N", "predicted", "saved", "measured", "saved"])];
    let steps = (images.div_ceil(batch_size) * epochs) as f64;
    // Time saved relative to the serial network, whose time is `speedup` times as long.
    let saved = |speedup: f64| format!("{:.1} %", 100.0 * (1.0 - 1.0 / speedup));
    for each in benched {
        let whole = |step_ms: f64| duration(steps * step_ms / 1e3);
        rows.push(row([
            &each.subnetworks.to_string(),
            &whole(each.predicted.step_ms),
            &saved(each.predicted.speedup),
            &whole(each.measured.step_ms),
            &saved(each.measured.speedup),
        ]));
    }
    if shows_paper(benched) && [epochs, images] == [PAPER_EPOCHS, PAPER_IMAGES] {
        rows[0].extend(row(["paper", "saved"]));
        for (row, each) in rows[1..].iter_mut().zip(benched) {
            let count = each.paper.map(|paper| paper.subnetworks);
            let paper = PAPER_SECONDS.iter().find(|(subnetworks, _)| Some(*subnetworks) == count);
            row.extend(paper.map_or([String::new(), String::new()], |(_, seconds)| {
                [duration(*seconds), saved(PAPER_SECONDS[0].1 / seconds)]
            }));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use parareal::timeline::Timeline;
    use parareal_vision::{Clock, Predicted, Virtual};

    use super::*;

    fn benched(with_paper: bool) -> Vec<BenchRow> {
        let both = |forward, backward| Milliseconds { forward, backward };
        let row = |(index, subnetworks): (usize, usize)| {
            let virtual_clock =
                Virtual { total_ms: both(1.0, 2.0), speedup: 1.25, ..Virtual::default() };
            let predicted = Predicted { devices: subnetworks, step_ms: 3.0, speedup: 1.5 };
            let clock = Clock {
                workers: 1,
                held: vec![subnetworks],
                predicted_ms: 3.0,
                measured_ms: 3.0,
                spread_ms: 0.1,
                measured: Timeline::default(),
            };
            let paper = Some(PAPER_ROWS[index]).filter(|_| with_paper);
            BenchRow {
                subnetworks,
                coarse_units: 1,
                cuts: Vec::new(),
                virtual_clock,
                predicted,
                measured: predicted,
                clock,
                paper,
            }
        };
        [1, 3].into_iter().enumerate().map(row).collect()
    }

    #[test]
    fn rows_and_columns_of_the_paper_are_shown_together_or_not_at_all() {
        let whole = [PAPER_EPOCHS, PAPER_IMAGES];
        let tables = |rows: &[BenchRow], training| {
            [parts(rows), steps(rows), hours(rows, 128, training)].map(|rows| table(&rows))
        };
        let shown = tables(&benched(true), whole);
        for (table, part) in shown.iter().zip(["131.92/458.87", "2.60x", "27.6 %"]) {
            assert!(table.contains(part) && table.contains("paper"), "{table}");
        }
        for table in tables(&benched(false), whole) {
            assert!(!table.contains("paper"), "{table}");
        }
        // The paper's times are for the paper's number of epochs, so they are not shown for another number.
        let [_, _, hours] = tables(&benched(true), [10, PAPER_IMAGES]);
        assert!(!hours.contains("paper"), "{hours}");
    }
}
