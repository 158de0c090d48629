//! Learning-rate range test on the images of a configuration.

use parareal_data::LoadProgress;
use parareal_train::{ProcessGroup, RangeTest, RangeTestResult, RangeTestStep};

use crate::classification_run::load;
use crate::initial_weights::initial_weights;
use crate::{Config, VisionError};

/// Trains the network of a configuration for a few steps with growing learning rates ([`RangeTest::run`]). Nothing is
/// written. `on_step` receives each step; the test ends early if `stop` returns true. `on_load` receives the progress of loading
/// the images. The number of workers is not measured:
/// it is the default if the configuration requests that.
///
/// # Errors
/// If a device, an image file or the run with the initial weights is missing, the cuts are balanced but not measured
/// ([`Config::balance`]), or the test fails.
pub fn range_test(
    config: &Config,
    test: &RangeTest,
    on_step: &mut dyn FnMut(&RangeTestStep),
    stop: &dyn Fn() -> bool,
    on_load: &dyn Fn(LoadProgress),
) -> Result<RangeTestResult, VisionError> {
    test.check()?;
    let group = ProcessGroup::alone();
    let (task, _) = load(&group, config, on_load)?;
    let initial = initial_weights(config, &task.record)?.map(|initial| initial.weights);
    Ok(test.run(&config.run, &task, initial.as_ref(), on_step, stop)?)
}
