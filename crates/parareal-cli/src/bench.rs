//! How a bench looks: the paper's Tables 2 and 3 for this machine, beside the paper's own.

use parareal_train::{
    Bench, BenchRow, Benched, DeviceName, Machine, Milliseconds, PAPER_HOURS, PAPER_ROWS,
    write_timeline,
};

use crate::Ending;
use crate::arguments;
use crate::failure::Failure;
use crate::output::{count, duration, note, result, table};

pub(crate) fn run(flags: &arguments::Bench) -> Result<Ending, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = flags.workers.unwrap_or((cores / flags.threads.max(1)).max(1));
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
    let benched = bench.run(&mut |next| note(&format!("measures {next}")))?;
    if let (Some(path), Some(row)) = (&flags.timeline, benched.rows.last()) {
        let title = format!(
            "{}, N = {} on {}, measured",
            benched.network,
            row.subnetworks,
            count(row.clock.workers, "worker")
        );
        write_timeline(path, &row.clock.measured, &title)?;
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
        format!("Table 2, each part alone\n{}", table(&parts(benched))),
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
    let heads = ["N", "", "preprocessing", "subnetworks", "coarse", "postprocessing", "total"];
    let mut rows = vec![row(heads)];
    for BenchRow { subnetworks, virtual_clock: own, .. } in &benched.rows {
        let coarse = if *subnetworks > 1 { both(own.coarse_ms) } else { "-".into() };
        rows.push(row([
            &subnetworks.to_string(),
            "here",
            &both(own.preprocessing_ms),
            &both(own.subnetworks_ms),
            &coarse,
            &both(own.postprocessing_ms),
            &both(own.total_ms),
        ]));
        if let Some(paper) = PAPER_ROWS.iter().find(|paper| paper.subnetworks == *subnetworks) {
            let passes = |time: parareal_train::Passes| {
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
        let paper = PAPER_ROWS.iter().find(|paper| paper.subnetworks == each.subnetworks);
        let paper = paper.map_or(String::new(), |paper| {
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
