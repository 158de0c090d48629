//! Timelines to look at: as a trace for Perfetto, and as a picture.

mod chrome;
mod svg;

use std::io::Write;
use std::path::Path;

use parareal::timeline::{Activity, Timeline};

pub use chrome::chrome_trace;
pub use svg::svg;

use crate::TrainError;

/// Writes a timeline, by the ending of the file's name: a Chrome trace as `.json`, which
/// <https://ui.perfetto.dev> opens, or a picture as `.svg`.
///
/// # Errors
/// Where the name ends otherwise, the file is there already, or it cannot be written.
pub fn write_timeline(path: &Path, timeline: &Timeline, title: &str) -> Result<(), TrainError> {
    let text = match path.extension().and_then(|ending| ending.to_str()) {
        Some("json") => chrome_trace(timeline, title),
        Some("svg") => svg(timeline, title),
        _ => {
            let expected = "a name ends in .json (a trace for ui.perfetto.dev) or .svg (a picture)";
            return Err(TrainError::setting("timeline", path.display(), expected));
        }
    };
    let mut file = std::fs::File::create_new(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => TrainError::FileExists { path: path.to_path_buf() },
        _ => TrainError::file("create", path)(error),
    })?;
    file.write_all(text.as_bytes()).map_err(TrainError::file("write", path))
}

/// What a kind of span is called.
fn name(activity: Activity) -> &'static str {
    match activity {
        Activity::FineForward => "fine, forward",
        Activity::ChainForward => "coarse, forward",
        Activity::Head => "h and loss",
        Activity::ChainBackward => "coarse, backward",
        Activity::ChainWeights => "coarse, gradients of weights",
        Activity::FineBackward => "fine, backward",
        Activity::Transfer => "to the neighbour",
        Activity::Reduce => "between replicas",
        Activity::Update => "update",
    }
}
