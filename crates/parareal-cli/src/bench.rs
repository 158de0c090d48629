//! How a bench looks: the paper's Tables 2 and 3 for this machine, beside the paper's own.

use parareal_train::{
    Bench, BenchRow, Benched, DeviceName, Machine, Milliseconds, PAPER_HOURS, PAPER_ROWS, Passes,
    TimelineFile,
};

use crate::Ending;
use crate::arguments;
use crate::failure::Failure;
use crate::output::{count, duration, live, note, percent, result, table};

pub(crate) fn run(flags: &arguments::Bench) -> Result<Ending, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = flags.workers.unwrap_or((cores / flags.threads.max(1)).max(1));
    if flags.overwrite && flags.timeline.is_none() {
        let message = "--overwrite is for --timeline, and there is none";
        return Err(Failure::Flag(message.into()));
    }
    let timeline = flags.timeline.as_deref();
    let timeline = timeline.map(|path| TimelineFile::new(path, flags.overwrite));
    let timeline = timeline.transpose().map_err(Failure::with_overwrite)?;
    for (flag, value) in [("--images", flags.images), ("--epochs", flags.epochs)] {
        if value == 0 {
            return Err(Failure::Flag(format!("{flag} is 0: at least 1 is expected")));
        }
    }
    let bench = Bench {
        settings: flags.settings(),
        subnetworks: flags.subnetworks.clone(),
        classes: flags.classes,
        machine: Machine {
            device: flags.device.parse::<DeviceName>()?,
            batch: flags.batch_size,
            threads: flags.threads,
            workers,
        },
        repetitions: flags.repetitions,
    };
    // Kinds of parts, the serial network, and each that is cut.
    let rounds = 2 + flags.subnetworks.iter().filter(|&&count| count != 1).count();
    let bar = live(rounds as u64, "{pos} of {len}, {elapsed}: measures {wide_msg}");
    let mut begun = false;
    let benched = bench.run(&mut |next| match &bar {
        Some(bar) => {
            bar.inc(u64::from(std::mem::replace(&mut begun, true)));
            bar.set_message(next.to_string());
        }
        None => note(&format!("measures {next}")),
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let benched = benched?;
    if let (Some(timeline), Some(row)) = (timeline, benched.rows.last()) {
        let title = format!(
            "{}, N = {} on {}, measured",
            benched.network,
            row.subnetworks,
            count(row.clock.workers, "worker")
        );
        let written = timeline.write(&row.clock.measured, &title, None);
        written.map_err(Failure::with_overwrite)?;
        note(&format!("{} shows the last step", timeline.path().display()));
    }
    if flags.json {
        result(&serde_json::to_string(&benched).expect("numbers and names are JSON"))?;
    } else {
        result(&as_text(&benched, flags))?;
    }
    Ok(Ending::Done)
}

fn as_text(benched: &Benched, flags: &arguments::Bench) -> String {
    [
        format!(
            "{}, batch {}, coarse units {}, {} of {}; medians in ms, forward/backward",
            benched.network,
            benched.batch_size,
            benched.coarse_unit,
            count(benched.threads, "thread"),
            benched.device,
        ),
        format!(
            "Table 2, each part alone; the spread is that of the subnetworks, from the lower to the \
             upper quartile, against their times\n{}",
            table(&parts(benched))
        ),
        format!(
            "The step: what the parts add up to (virtual, as the paper counts), predicted with a \
             device for each subnetwork and overlap, and measured here\n{}",
            table(&steps(benched))
        ),
        format!(
            "The workers of this machine, predicted and on the clock\n{}",
            table(&clock(benched))
        ),
        format!(
            "Table 3, {} epochs of {} images\n{}",
            flags.epochs,
            flags.images,
            table(&hours(benched, flags))
        ),
    ]
    .join("\n\n")
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(ToString::to_string).to_vec()
}

fn both(time: Milliseconds) -> String {
    format!("{:.2}/{:.2}", time.forward, time.backward)
}

fn parts(benched: &Benched) -> Vec<Vec<String>> {
    let heads =
        ["N", "", "preprocessing", "subnetworks", "coarse", "postprocessing", "total", "spread"];
    let mut rows = vec![row(heads)];
    for BenchRow { subnetworks, virtual_clock: own, paper, .. } in &benched.rows {
        let coarse = if *subnetworks > 1 { both(own.coarse_ms) } else { "-".into() };
        rows.push(row([
            &subnetworks.to_string(),
            "here",
            &both(own.preprocessing_ms),
            &both(own.subnetworks_ms),
            &coarse,
            &both(own.postprocessing_ms),
            &both(own.total_ms),
            &percent(own.spread()),
        ]));
        if let Some(paper) = paper {
            let passes = |time: Passes| {
                both(Milliseconds { forward: time.forward, backward: time.backward })
            };
            rows.push(row([
                "",
                "paper",
                &passes(paper.preprocessing),
                &passes(paper.fine),
                &paper.coarse.map_or("-".into(), passes),
                &passes(paper.postprocessing),
                &passes(paper.total()),
                "",
            ]));
        }
    }
    rows
}

fn steps(benched: &Benched) -> Vec<Vec<String>> {
    let heads = ["N", "virtual", "", "paper's", "predicted", "", "measured", "", "workers"];
    let mut rows = vec![row(heads)];
    let serial = PAPER_ROWS[0].total();
    for each in &benched.rows {
        let paper = each.paper.map_or(String::new(), |paper| {
            let total = paper.total();
            let speedup = (serial.forward + serial.backward) / (total.forward + total.backward);
            format!("{speedup:.2}x")
        });
        let times = |speedup: f64| format!("{speedup:.2}x");
        rows.push(row([
            &each.subnetworks.to_string(),
            &format!("{:.1}", each.virtual_clock.total_ms.sum()),
            &times(each.virtual_clock.speedup),
            &paper,
            &format!("{:.1}", each.predicted.step_ms),
            &times(each.predicted.speedup),
            &format!("{:.1}", each.measured.step_ms),
            &times(each.measured.speedup),
            &each.measured.devices.to_string(),
        ]));
    }
    rows
}

fn clock(benched: &Benched) -> Vec<Vec<String>> {
    let heads = ["N", "workers", "subnetworks of each", "predicted", "measured", "spread", "error"];
    let mut rows = vec![row(heads)];
    rows.extend(benched.rows.iter().map(|each| {
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

fn hours(benched: &Benched, flags: &arguments::Bench) -> Vec<Vec<String>> {
    let heads = ["N", "predicted", "saved", "measured", "saved", "paper", "saved"];
    let mut rows = vec![row(heads)];
    let steps = (flags.images.div_ceil(benched.batch_size) * flags.epochs) as f64;
    for each in &benched.rows {
        let whole = |step_ms: f64| duration(steps * step_ms / 1e3);
        // Against the network that is not cut, whose times are these times the gain.
        let saved = |speedup: f64| format!("{:.1} %", 100.0 * (1.0 - 1.0 / speedup));
        let paper = PAPER_HOURS.iter().find(|(count, _)| *count == each.subnetworks);
        let [time, share] = paper.map_or([String::new(), String::new()], |(_, seconds)| {
            [duration(*seconds), saved(PAPER_HOURS[0].1 / seconds)]
        });
        rows.push(row([
            &each.subnetworks.to_string(),
            &whole(each.predicted.step_ms),
            &saved(each.predicted.speedup),
            &whole(each.measured.step_ms),
            &saved(each.measured.speedup),
            &time,
            &share,
        ]));
    }
    rows
}
