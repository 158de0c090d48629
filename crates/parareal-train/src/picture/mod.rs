//! Timelines to look at: as a trace for Perfetto, and as a picture.

mod chrome;
mod svg;

use std::path::Path;

use parareal::timeline::{Activity, Timeline};

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

    /// Whether it is a picture, which has an axis.
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
