//! Counts of CUDA calls, as written by the counting driver (`counting_driver.c`).

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::Result;

/// Environment variable with the path of the file that the driver writes.
const VARIABLE: &str = "COUNTING_DRIVER";

/// The counters of `struct counts`, in order. A wave has one block for each multiprocessor of an H100.
const COUNTERS: [&str; 15] = [
    "launches",
    "launches_of_one_block",
    "launches_below_one_wave",
    "events_recorded",
    "event_waits",
    "synchronizations",
    "host_reads",
    "host_writes",
    "device_copies",
    "allocations",
    "bytes_allocated",
    "modules_loaded",
    "graph_launches",
    "calls",
    "refused_while_recording",
];
/// Size in bytes of `struct kernel`, and of the name in it.
const KERNEL: usize = 240;
const NAME: usize = 216;

/// Calls of the CUDA driver since it was loaded, or between two readings.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Counts {
    #[serde(flatten)]
    counters: BTreeMap<&'static str, u64>,
    /// Launches of each kernel, in order of decreasing number of launches.
    kernels: Vec<Kernel>,
}

/// Launches of one kernel.
#[derive(Clone, Debug, Serialize)]
struct Kernel {
    name: String,
    launches: u64,
    /// The smallest number of blocks of a launch since the driver was loaded, and the number of threads per
    /// block in that launch.
    fewest_blocks: u64,
    threads_of_a_block: u64,
}

impl Counts {
    /// Returns the counts since the driver was loaded; `None` without the counting driver.
    pub(crate) fn now() -> Result<Option<Self>> {
        let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return Ok(None) };
        let bytes = fs::read(&path).map_err(|error| {
            format!("cannot read {}, which {VARIABLE} names: {error}", path.display())
        })?;
        let counts = Self::read(&bytes);
        let counts = counts.ok_or_else(|| format!("{}: expected counts", path.display()))?;
        Ok(Some(counts))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8], index: usize| {
            let bytes = bytes.get(8 * index..8 * (index + 1))?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let kernels = usize::try_from(number(bytes, COUNTERS.len())?).ok()?;
        let table = bytes.get(8 * (COUNTERS.len() + 1)..)?.chunks_exact(KERNEL).take(kernels);
        let kernels = table.map(|kernel| {
            let (name, numbers) = kernel.split_at(NAME);
            let name = name.split(|byte| *byte == 0).next()?;
            Some(Kernel {
                name: String::from_utf8_lossy(name).into_owned(),
                launches: number(numbers, 0)?,
                fewest_blocks: number(numbers, 1)?,
                threads_of_a_block: number(numbers, 2)?,
            })
        });
        let kernels = kernels.collect::<Option<Vec<_>>>()?;
        let counters = COUNTERS.iter().enumerate();
        let counters = counters.map(|(index, name)| Some((*name, number(bytes, index)?)));
        Some(Self { counters: counters.collect::<Option<_>>()?, kernels })
    }

    /// Returns the counts since `earlier`.
    pub(crate) fn since(mut self, earlier: &Self) -> Self {
        for (name, count) in &mut self.counters {
            *count -= earlier.counters[name];
        }
        for (kernel, earlier) in self.kernels.iter_mut().zip(&earlier.kernels) {
            kernel.launches -= earlier.launches;
        }
        self.kernels.retain(|kernel| kernel.launches > 0);
        self.kernels.sort_by(|a, b| b.launches.cmp(&a.launches).then_with(|| a.name.cmp(&b.name)));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(counters: [u64; COUNTERS.len()], kernels: &[(&str, [u64; 3])]) -> Vec<u8> {
        let mut bytes: Vec<u8> = counters.iter().flat_map(|count| count.to_le_bytes()).collect();
        bytes.extend((kernels.len() as u64).to_le_bytes());
        for (name, numbers) in kernels {
            let mut field = name.as_bytes().to_vec();
            field.resize(NAME, 0);
            bytes.extend(field);
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        bytes.resize(bytes.len() + 3 * KERNEL, 0);
        bytes
    }

    #[test]
    fn a_step_is_what_was_counted_between_its_ends() {
        let mut counters = [0; COUNTERS.len()];
        let begin = Counts::read(&file(counters, &[("add", [2, 1, 32])])).unwrap();
        for (index, counter) in counters.iter_mut().enumerate() {
            *counter = 10 + index as u64;
        }
        let kernels = [("add", [2, 1, 32]), ("sum", [3, 4, 64]), ("copy", [9, 8, 256])];
        let step = Counts::read(&file(counters, &kernels)).unwrap().since(&begin);
        let counter = |name| step.counters[name];
        let found = ["launches", "events_recorded", "graph_launches"].map(counter);
        assert_eq!(found, [10, 13, 22]);
        let kernels: Vec<_> =
            step.kernels.iter().map(|kernel| (kernel.name.as_str(), kernel.launches)).collect();
        assert_eq!(kernels, [("copy", 9), ("sum", 3)]);
        assert!(Counts::read(&[0; 50]).is_none());
    }
}
