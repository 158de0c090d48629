//! Timelines to look at: as a trace for Perfetto, and as a picture.

mod chrome;
mod svg;

use std::path::Path;

use parareal::timeline::{Activity, Span, Timeline};

use crate::{Format, OutputFile, TrainError};
use chrome::chrome_trace;
use svg::svg;

/// A file that shows a timeline, in one of its [`FORMATS`](Self::FORMATS).
#[derive(Clone, Debug)]
pub struct TimelineFile(OutputFile);

impl TimelineFile {
    /// The formats that a timeline can be shown in.
    pub const FORMATS: [Format; 2] = [Format::Trace, Format::Svg];

    /// Checks the file's name; its extension chooses the format.
    ///
    /// # Errors
    /// Those of [`OutputFile::new`].
    pub fn new(path: &Path, overwrite: bool) -> Result<Self, TrainError> {
        OutputFile::new(path, &Self::FORMATS, overwrite).map(Self)
    }

    /// The name that was asked for.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns true if it is a picture, which has an axis.
    #[must_use]
    pub fn is_picture(&self) -> bool {
        self.0.format() == Format::Svg
    }

    /// Writes the whole file. A picture's axis goes as far as the step, or as `seconds`.
    ///
    /// # Errors
    /// Those of [`OutputFile::write`].
    pub fn write(
        &self,
        timeline: &Timeline,
        title: &str,
        seconds: Option<f64>,
    ) -> Result<(), TrainError> {
        let text = match self.is_picture() {
            true => svg(timeline, title, seconds.unwrap_or_else(|| timeline.end())),
            false => chrome_trace(timeline, title),
        };
        self.0.write(text.as_bytes())
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
