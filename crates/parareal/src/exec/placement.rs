use burn::tensor::Device;

use super::error::ExecError;
use super::layout::{Layout, LayoutError};

/// A layout on devices, and how workers run their subnetworks.
#[derive(Clone, Debug)]
pub struct Placement {
    /// Which worker and replica, and with MPI which rank, holds which subnetworks.
    pub layout: Layout,
    /// The devices of this process. Its workers are spread over them in order.
    pub devices: Vec<Device>,
    /// The threads that share each operation of one worker on the CPU. A worker on another device has
    /// one thread, which submits the work.
    pub threads: usize,
    /// Units that share one graph in the backward pass. Longer segments have less overhead,
    /// shorter ones free memory earlier.
    pub segment_units: usize,
    /// Keeps of each segment only the state that it starts from, and computes the rest once more
    /// in the backward pass: less memory for about a third more time.
    ///
    /// A segment of `k` units then needs the memory of `k` units while it is differentiated, and
    /// `n` units keep `n / k` states, so about `√n` units are best. Gradients are the same to the
    /// last bit. Units have to compute the same twice. The random layers of [`crate::nn`] do;
    /// those of Burn, such as `burn::nn::Dropout`, draw other numbers, and the step ends with
    /// [`ExecError::NotDeterministic`]. On the CPU any difference is
    /// noticed; on other devices, whose sums may differ from run to run, only one of more than 1 % of the
    /// norm of the segment's last state. Random layers with a smaller effect go unnoticed there, and
    /// gradients are wrong by as much. Running statistics ([`burn::module::RunningState`]) take the
    /// first pass and not the second.
    pub recompute: bool,
}

impl Placement {
    /// Places up to one worker for each core on the CPU, at most one for each of `subnetworks`. Each
    /// has an equal share of the cores.
    ///
    /// # Errors
    /// [`LayoutError::Workers`] without subnetworks.
    pub fn cpu(subnetworks: usize) -> Result<Self, LayoutError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let layout = Layout::threads(subnetworks, subnetworks.min(cores), 1)?;
        Ok(Self::new(vec![Device::flex()], layout))
    }

    /// Places a layout on devices. Each worker that a process has in one replica gets an equal share
    /// of the cores.
    pub fn new(devices: Vec<Device>, layout: Layout) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / layout.max_workers_per_rank()).max(1);
        Self { layout, devices, threads, segment_units: 4, recompute: false }
    }

    /// The device of worker `number` of the `workers` of this process.
    ///
    /// # Errors
    /// [`ExecError::NoDevice`] if there are none.
    pub(super) fn device_of(&self, number: usize, workers: usize) -> Result<&Device, ExecError> {
        self.devices.get(number * self.devices.len() / workers).ok_or(ExecError::NoDevice)
    }
}
