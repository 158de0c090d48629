//! Intervals between checkpoints.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::TrainError;

/// Interval of the checkpoints that are saved in addition to those after each epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointEvery {
    /// No additional checkpoints.
    Epoch,
    /// A checkpoint this number of steps after the previous one.
    Steps(usize),
    /// A checkpoint after the first step that ends at least this number of minutes after the previous checkpoint.
    Minutes(u64),
}

impl CheckpointEvery {
    /// Returns true if a checkpoint is due this many steps and this long after the previous one.
    pub(crate) fn is_due(self, steps: usize, time: Duration) -> bool {
        match self {
            Self::Epoch => false,
            Self::Steps(every) => steps >= every,
            Self::Minutes(every) => time >= Duration::from_secs(every.saturating_mul(60)),
        }
    }
}

impl FromStr for CheckpointEvery {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        let every = match text.strip_suffix('m') {
            _ if text == "epoch" => Some(Self::Epoch),
            Some(minutes) => minutes.parse().ok().filter(|&every| every > 0).map(Self::Minutes),
            None => text.parse().ok().filter(|&every| every > 0).map(Self::Steps),
        };
        every.ok_or_else(|| {
            let expected =
                "expected a number of steps or minutes, or epoch, for example 500 or 10m";
            TrainError::setting("checkpoint-every", text, expected)
        })
    }
}

impl fmt::Display for CheckpointEvery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epoch => f.write_str("epoch"),
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Minutes(minutes) => write!(f, "{minutes}m"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for text in ["epoch", "500", "10m"] {
            assert_eq!(text.parse::<CheckpointEvery>().unwrap().to_string(), text);
        }
        for text in ["", "0", "0m", "m", "5s", "-1", "1.5"] {
            assert!(text.parse::<CheckpointEvery>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_checkpoint_is_due_after_steps_or_minutes() {
        let second = Duration::from_secs(1);
        assert!(!CheckpointEvery::Epoch.is_due(1_000, 1_000 * second));
        assert!(!CheckpointEvery::Steps(3).is_due(2, 1_000 * second));
        assert!(CheckpointEvery::Steps(3).is_due(3, second));
        assert!(!CheckpointEvery::Minutes(1).is_due(1_000, 59 * second));
        assert!(CheckpointEvery::Minutes(1).is_due(1, 60 * second));
    }
}
