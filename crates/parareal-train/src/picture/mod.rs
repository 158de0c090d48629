//! Timelines to look at: as a trace for Perfetto, and as a picture.

mod chrome;
mod svg;

use std::path::Path;

use parareal::timeline::{Activity, Timeline};

use crate::TrainError;
use chrome::chrome_trace;
use svg::svg;

/// How a timeline is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picture {
    /// As Chrome trace events in JSON, which <https://ui.perfetto.dev> opens.
    Trace,
    /// As an SVG.
    Svg,
}

impl Picture {
    /// By the ending of the file's name: `.json` or `.svg`.
    ///
    /// # Errors
    /// Where it ends otherwise.
    pub fn of(path: &Path) -> Result<Self, TrainError> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => Ok(Self::Trace),
            Some("svg") => Ok(Self::Svg),
            _ => {
                let expected =
                    "a name ends in .json (a trace for ui.perfetto.dev) or .svg (a picture)";
                Err(TrainError::setting("timeline", path.display(), expected))
            }
        }
    }

    /// The whole file. A picture's axis goes as far as the step, or as `seconds`.
    #[must_use]
    pub fn draw(self, timeline: &Timeline, title: &str, seconds: Option<f64>) -> String {
        match self {
            Self::Trace => chrome_trace(timeline, title),
            Self::Svg => svg(timeline, title, seconds.unwrap_or_else(|| timeline.end())),
        }
    }
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
