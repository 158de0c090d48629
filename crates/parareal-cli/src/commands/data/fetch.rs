//! `data fetch`: downloads the files of a data set and shows the progress.

use std::time::Instant;

use indicatif::ProgressBar;
use parareal_data::fetch::{self, FetchError, FetchEvent, FetchOptions, Fetched, Job};
use parareal_data::{DatasetName, Inspection, inspect};
use serde_json::{Value, json};

use crate::arguments::Fetch;
use crate::ending::Ending;
use crate::failure::Failure;
use crate::interrupt;
use crate::output::{SILENCE, amount, duration, live, note, result, shell_word};

use super::inspection_text::{as_json, as_text};

/// Downloads the missing files of a data set, then checks all of them as `data check` does.
pub(crate) fn fetch(arguments: Fetch) -> Result<Ending, Failure> {
    let Fetch { name, data_dir, from, json } = arguments;
    let name: DatasetName = name.parse()?;
    let stop = interrupt::watch(Some("and keeping what has come"));
    let mut progress = Progress::default();
    let mut events = |event: FetchEvent<'_>| progress.show(event);
    let mut job = Job { options: FetchOptions::default(), stop: &stop, events: &mut events };
    let fetched = fetch::fetch(name, &data_dir, from.as_deref(), &mut job);
    progress.end();
    let fetched = match fetched {
        Err(error @ FetchError::Interrupted { .. }) => {
            note(&format!("{error}; the same command goes on"));
            return Ok(Ending::Interrupted);
        }
        fetched => fetched?,
    };
    let mut inspection = inspect(name, Some(&data_dir))?;
    inspection.notes.extend(unread(&fetched, &inspection));
    if json {
        let mut value = as_json(&inspection);
        value["fetched"] = fetched.iter().map(file_as_json).collect();
        result(&value.to_string())?;
        return Ok(Ending::Done);
    }
    if fetched.is_empty() {
        note(&format!("{name} is drawn by the program: there is nothing to fetch"));
    } else if fetched.iter().all(|file| file.address.is_none()) {
        note("all files were there: there was nothing to fetch");
    }
    result(&as_text(&inspection))?;
    if !fetched.is_empty() {
        let folder = shell_word(&data_dir);
        note(&format!("train on it with `parareal train --dataset {name} --data-dir {folder}`"));
    }
    Ok(Ending::Done)
}

/// Returns a note on a file that was downloaded but is not read, because other files take
/// precedence.
fn unread(fetched: &[Fetched], inspection: &Inspection) -> Option<String> {
    let is_read = |file: &&Fetched| inspection.files.iter().any(|read| read.path == file.path);
    let file = fetched.iter().find(|file| !is_read(file))?;
    let read = inspection.files.first()?;
    Some(format!(
        "{} is whole and is not read, because {} comes before it: move that away with the loose \
         files beside it",
        file.path.display(),
        read.path.display(),
    ))
}

fn file_as_json(file: &Fetched) -> Value {
    json!({ "path": file.path, "bytes": file.bytes, "address": file.address })
}

/// Progress of a download: a bar on a terminal, lines elsewhere.
#[derive(Default)]
struct Progress {
    current: Option<Current>,
}

/// The current file.
struct Current {
    name: String,
    bytes: u64,
    /// Bytes received before the current response.
    before: u64,
    /// Start of the current response.
    begun: Instant,
    last: Instant,
    bar: Option<ProgressBar>,
}

impl Progress {
    fn show(&mut self, event: FetchEvent<'_>) {
        match event {
            FetchEvent::Started { file, have } => self.begin(&file.name, file.bytes, have),
            FetchEvent::Bytes { have } => {
                if let Some(current) = &mut self.current {
                    current.advance(have);
                }
            }
            FetchEvent::Retry { fault, pause } => {
                let pause = duration(pause.as_secs_f64());
                self.say(&format!("{fault}; trying again in {pause}"));
            }
            FetchEvent::Restarted { fault } => {
                self.say(&format!("{fault}; its parts are thrown away and fetched anew"));
            }
            FetchEvent::NextAddress { fault, address } => {
                self.say(&format!("{fault}; trying {address}"));
            }
            FetchEvent::Done { file } => {
                let known = self.current.as_ref().map(|current| current.begun.elapsed());
                let time = known
                    .map_or(String::new(), |time| format!(" in {}", duration(time.as_secs_f64())));
                self.say(&format!("{}: {}B{time}, as published", file.name, amount(file.bytes)));
                self.end();
            }
            _ => {}
        }
    }

    fn begin(&mut self, name: &str, bytes: u64, have: u64) {
        self.end();
        let there = match have {
            0 => String::new(),
            have => format!(", {}B of it are there", amount(have)),
        };
        note(&format!("{name}: {}B{there}", amount(bytes)));
        let shown = "{wide_bar} {decimal_bytes}/{decimal_total_bytes}  \
                     {decimal_bytes_per_sec}  {eta} left";
        let bar = live(bytes, shown).map(|bar| {
            let bar = bar.with_position(have);
            bar.reset_eta();
            bar
        });
        let now = Instant::now();
        let name = name.to_owned();
        self.current = Some(Current { name, bytes, before: have, begun: now, last: now, bar });
    }

    fn say(&self, text: &str) {
        match self.current.as_ref().and_then(|current| current.bar.as_ref()) {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }

    /// Removes the progress bar.
    fn end(&mut self) {
        if let Some(bar) = self.current.take().and_then(|current| current.bar) {
            bar.finish_and_clear();
        }
    }
}

impl Current {
    fn advance(&mut self, have: u64) {
        if let Some(bar) = &self.bar {
            return bar.set_position(have);
        }
        if self.last.elapsed() >= SILENCE {
            self.last = Instant::now();
            let rate = (have - self.before) as f64 / self.begun.elapsed().as_secs_f64();
            note(&format!(
                "{}: {}B of {}B, {}B/s, {} left",
                self.name,
                amount(have),
                amount(self.bytes),
                amount(rate as u64),
                duration((self.bytes - have) as f64 / rate.max(1.0)),
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use parareal_data::{InspectedFile, SplitCounts};

    use super::*;

    #[test]
    fn files_that_are_there_and_not_read_are_told() {
        let fetched = Fetched { path: "d/a.tar.gz".into(), bytes: 1, address: None };
        let inspection = |path: &str| Inspection {
            name: DatasetName::Cifar10,
            files: vec![InspectedFile { path: path.into(), bytes: 1, checksum: None }],
            train: SplitCounts { images: 1, per_class: vec![1] },
            test: None,
            class_names: vec![],
            notes: vec![],
            fingerprint: String::new(),
        };
        let fetched = [fetched];
        assert_eq!(unread(&fetched, &inspection("d/a.tar.gz")), None);
        let note = unread(&fetched, &inspection("d/b.bin")).unwrap();
        assert!(note.starts_with("d/a.tar.gz is whole and is not read, because d/b.bin"), "{note}");
    }
}
