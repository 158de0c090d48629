//! Timeline files: traces for Perfetto, and SVG pictures.

mod lanes;
mod recorder;
mod step_timeline;
mod svg;
mod trace;

use std::path::Path;

use parareal::timeline::Timeline;

use crate::{Format, OutputFile, TrainError};
use svg::svg;
use trace::chrome_trace;

pub(crate) use recorder::TimelineRecorder;
pub use step_timeline::StepTimeline;

/// A file that shows a timeline, in one of its [`FORMATS`](Self::FORMATS).
#[derive(Clone, Debug)]
pub struct TimelineFile(OutputFile);

impl TimelineFile {
    /// The formats of timeline files.
    pub const FORMATS: [Format; 2] = [Format::Trace, Format::Svg];

    /// Checks the path of the file. Its extension determines the format.
    ///
    /// # Errors
    /// If [`OutputFile::new`] fails.
    pub fn new(path: &Path, overwrite: bool) -> Result<Self, TrainError> {
        OutputFile::new(path, &Self::FORMATS, overwrite).map(Self)
    }

    /// Returns the path as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns true for a picture, which has a time axis.
    #[must_use]
    pub fn is_picture(&self) -> bool {
        self.0.format() == Format::Svg
    }

    /// Writes the whole file. The time axis of a picture ends at `seconds`, by default at the end of the
    /// timeline.
    ///
    /// # Errors
    /// If [`OutputFile::write`] fails.
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
