//! What the counting driver has counted (`counting_driver.c`).

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use crate::Result;

/// The variable that names the driver's file.
const VARIABLE: &str = "COUNTING_DRIVER";

/// Numbers of `struct counts`, in its order.
const COUNTERS: usize = 13;
/// Bytes of `struct kernel`, and of its name.
const KERNEL: usize = 240;
const NAME: usize = 216;

/// Calls of the CUDA driver since it was loaded, or between two such moments.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Counts {
    pub(crate) launches: u64,
    pub(crate) launches_of_one_block: u64,
    /// Launches of fewer blocks than an H100 has multiprocessors.
    pub(crate) launches_below_one_wave: u64,
    pub(crate) events_recorded: u64,
    pub(crate) event_waits: u64,
    pub(crate) synchronizations: u64,
    pub(crate) host_reads: u64,
    pub(crate) host_writes: u64,
    pub(crate) device_copies: u64,
    pub(crate) allocations: u64,
    pub(crate) bytes_allocated: u64,
    pub(crate) modules_loaded: u64,
    pub(crate) graph_launches: u64,
    /// Launches by kernel, the most frequent first.
    pub(crate) kernels: Vec<Kernel>,
}

/// Launches of one kernel.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    pub(crate) launches: u64,
    /// Blocks of the launch with the fewest since the driver was loaded, and threads of each.
    pub(crate) fewest_blocks: u64,
    pub(crate) threads_of_a_block: u64,
}

impl Counts {
    /// What was counted until now; `None` with a real driver.
    pub(crate) fn now() -> Result<Option<Self>> {
        let Some(path) = std::env::var_os(VARIABLE).map(PathBuf::from) else { return Ok(None) };
        let bytes = fs::read(&path)
            .map_err(|error| format!("{VARIABLE} names {}: {error}", path.display()))?;
        let counts = Self::read(&bytes);
        let counts = counts.ok_or_else(|| format!("{}: no counts", path.display()))?;
        Ok(Some(counts))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let number = |bytes: &[u8], index: usize| {
            let bytes = bytes.get(8 * index..8 * (index + 1))?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let kernels = usize::try_from(number(bytes, COUNTERS)?).ok()?;
        let table = bytes.get(8 * (COUNTERS + 1)..)?.chunks_exact(KERNEL).take(kernels);
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
        let counter = |index| number(bytes, index);
        Some(Self {
            launches: counter(0)?,
            launches_of_one_block: counter(1)?,
            launches_below_one_wave: counter(2)?,
            events_recorded: counter(3)?,
            event_waits: counter(4)?,
            synchronizations: counter(5)?,
            host_reads: counter(6)?,
            host_writes: counter(7)?,
            device_copies: counter(8)?,
            allocations: counter(9)?,
            bytes_allocated: counter(10)?,
            modules_loaded: counter(11)?,
            graph_launches: counter(12)?,
            kernels,
        })
    }

    /// What was counted since `earlier`.
    pub(crate) fn since(mut self, earlier: &Self) -> Self {
        self.launches -= earlier.launches;
        self.launches_of_one_block -= earlier.launches_of_one_block;
        self.launches_below_one_wave -= earlier.launches_below_one_wave;
        self.events_recorded -= earlier.events_recorded;
        self.event_waits -= earlier.event_waits;
        self.synchronizations -= earlier.synchronizations;
        self.host_reads -= earlier.host_reads;
        self.host_writes -= earlier.host_writes;
        self.device_copies -= earlier.device_copies;
        self.allocations -= earlier.allocations;
        self.bytes_allocated -= earlier.bytes_allocated;
        self.modules_loaded -= earlier.modules_loaded;
        self.graph_launches -= earlier.graph_launches;
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

    fn file(counters: [u64; COUNTERS], kernels: &[(&str, [u64; 3])]) -> Vec<u8> {
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
        let mut counters = [0; COUNTERS];
        let begin = Counts::read(&file(counters, &[("add", [2, 1, 32])])).unwrap();
        for (index, counter) in counters.iter_mut().enumerate() {
            *counter = 10 + index as u64;
        }
        let kernels = [("add", [2, 1, 32]), ("sum", [3, 4, 64]), ("copy", [9, 8, 256])];
        let step = Counts::read(&file(counters, &kernels)).unwrap().since(&begin);
        assert_eq!((step.launches, step.events_recorded, step.graph_launches), (10, 13, 22));
        let kernels: Vec<_> =
            step.kernels.iter().map(|kernel| (kernel.name.as_str(), kernel.launches)).collect();
        assert_eq!(kernels, [("copy", 9), ("sum", 3)]);
        assert!(Counts::read(&[0; 50]).is_none());
    }
}
