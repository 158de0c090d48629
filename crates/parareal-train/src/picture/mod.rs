//! Timelines to look at: as a trace for Perfetto, and as a picture.

mod chrome;
mod svg;

use std::path::Path;

use parareal::timeline::{Activity, Span, Timeline};

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

/// The communication of one device in lanes, each of one kind and without overlaps. There is one
/// lane for each kind that occurs, and more where spans of a kind overlap each other.
fn communication<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<Vec<Span>> {
    let mut spans: Vec<Span> = spans.filter(|span| !span.activity.is_work()).copied().collect();
    spans.sort_by(|a, b| a.begin.total_cmp(&b.begin));
    let mut lanes: Vec<Vec<Span>> = Vec::new();
    for span in spans {
        let is_free = |lane: &&mut Vec<Span>| {
            let last = lane.last();
            last.is_some_and(|last| last.activity == span.activity && last.end <= span.begin)
        };
        match lanes.iter_mut().find(is_free) {
            Some(lane) => lane.push(span),
            None => lanes.push(vec![span]),
        }
    }
    lanes.sort_by_key(|lane| lane.first().map(|span| span.activity == Activity::Reduce));
    lanes
}

/// The name of an activity.
fn name(activity: Activity) -> &'static str {
    match activity {
        Activity::FineForward => "fine, forward",
        Activity::ChainForward => "coarse, forward",
        Activity::Head => "h and loss",
        Activity::ChainBackward => "coarse, backward",
        Activity::ChainWeights => "coarse, gradients of weights",
        Activity::FineBackward => "fine, backward",
        Activity::Transfer => "transfer",
        Activity::Reduce => "all-reduce",
        Activity::Update => "update",
    }
}
