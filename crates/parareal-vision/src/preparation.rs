//! Progress before the first step of a run.

use parareal_data::LoadProgress;

/// Receives the progress of what happens before the first step of a run. By default each method does nothing.
pub trait Preparation {
    /// Called from time to time while a folder of images larger than 32x32 is indexed.
    fn on_load(&self, progress: LoadProgress) {
        let _ = progress;
    }

    /// Called before the steps are timed from which the number of workers is chosen, if it is to be measured.
    fn before_timing(&self) {}
}

/// Shows nothing.
impl Preparation for () {}
