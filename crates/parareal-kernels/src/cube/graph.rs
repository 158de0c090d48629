//! Sequences of launches that are recorded once and replayed as one.

use std::fmt;
use std::thread::{ThreadId, current};

use burn::backend::{Backend, BackendGraph, Dispatch, ExecutionError};
use burn::tensor::Device;

/// A graph cannot be recorded or replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphError(String);

impl GraphError {
    /// Creates an error from a message of CubeCL: its first line and its causes, which are indented lines. A backtrace may follow.
    pub(crate) fn of(message: impl fmt::Display) -> Self {
        let message = message.to_string();
        let is_backtrace = |line: &str| line == "Backtrace:" || line.starts_with("0: ");
        let lines = message.lines().map(str::trim).take_while(|line| !is_backtrace(line));
        let lines: Vec<&str> = lines.filter(|line| !["", "Caused by:"].contains(line)).collect();
        Self(lines.join(": "))
    }

    /// Returns the number of bytes that could not be allocated while launches were recorded, if that is the reason.
    pub fn missing_bytes(&self) -> Option<u64> {
        // CubeCL's `IoError::PageUpdateForbidden`. Burn passes on only its text.
        let (_, rest) = self.0.split_once("No room for ")?;
        rest.split_once(" bytes")?.0.parse().ok()
    }
}

impl fmt::Display for GraphError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for GraphError {}

/// A sequence of launches on a device, which one call replays: a CUDA graph or its equivalent.
///
/// A replay reads and writes the memory that the launches had when they were recorded. Its inputs are what this memory contains
/// then, and its results are there afterwards, also in tensors that share the memory. So tensors that the launches write must
/// not be held as values across a replay, except to read the results of the latest one. Kernels do not check indices that they
/// read from tensors: what is copied to an input has to be valid for the computation.
pub struct LaunchGraph {
    graph: BackendGraph<Dispatch>,
    device: Device,
    /// The thread that recorded the graph, whose stream it belongs to.
    thread: ThreadId,
}

/// Prepares a device for [`LaunchGraph::record`] on this thread. The launches that will be recorded should then be executed once as
/// usual, since memory cannot be allocated while launches are recorded. That is not always enough: how much memory the
/// launches need depends on when the host drops tensors, and [`Reserve`](super::memory::Reserve) adds some.
///
/// # Errors
/// If the device cannot record.
pub fn prepare(device: &Device) -> Result<(), GraphError> {
    // Ends an earlier preparation that no recording has followed.
    let _ = Dispatch::graph_stop_capture(device.as_dispatch());
    Dispatch::graph_prepare(device.as_dispatch()).map_err(error)
}

impl LaunchGraph {
    /// Records the launches of a computation on this thread instead of executing them.
    ///
    /// The computation must not read from the device, and needs as much memory as an execution right before it. Values of
    /// tensors that it creates are undefined until the graph is replayed.
    ///
    /// # Errors
    /// If the device cannot record the computation. Its results must then be discarded.
    pub fn record<R>(
        device: &Device,
        compute: impl FnOnce() -> R,
    ) -> Result<(Self, R), GraphError> {
        let dispatch = device.as_dispatch();
        // An error means that the device is prepared already, or that the recording will not start, either.
        let _ = Dispatch::graph_prepare(dispatch);
        Dispatch::graph_start_capture(dispatch).map_err(error)?;
        let recording = Recording(device);
        let result = compute();
        std::mem::forget(recording);
        let graph = Dispatch::graph_stop_capture(dispatch).map_err(error)?;
        Ok((Self { graph, device: device.clone(), thread: current().id() }, result))
    }

    /// Executes the recorded launches, after all work that this thread has submitted before.
    ///
    /// # Errors
    /// If this is not the thread that recorded the graph, or the device refuses it.
    pub fn replay(&self) -> Result<(), GraphError> {
        if current().id() != self.thread {
            return Err(GraphError("a graph is replayed by the thread that recorded it".into()));
        }
        // SAFETY: The graph guards all pages of the device's memory that its launches were given: CubeCL neither frees nor moves
        // them nor allocates from them as long as the graph exists (`PageGuard`). So all accesses are to memory that the device
        // has allocated for these launches, if indices within tensors are valid, which is a condition of every launch as well. The
        // replay is submitted to the stream it was recorded on, in the order of the thread's other work. If another stream uses the
        // same memory at the same time, or tensors share it, values are undefined, as documented, but they are numbers in the
        // device's memory, which no Rust reference points to.
        #[allow(unsafe_code, reason = "Burn's replay checks nothing")]
        unsafe { Dispatch::graph_replay(self.device.as_dispatch(), &self.graph) }.map_err(error)
    }
}

impl fmt::Debug for LaunchGraph {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("LaunchGraph").field("device", &self.device).finish_non_exhaustive()
    }
}

/// A recording in progress, which a panic ends.
struct Recording<'a>(&'a Device);

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        let _ = Dispatch::graph_stop_capture(self.0.as_dispatch());
    }
}

/// Converts an error of the device to one line.
fn error(error: ExecutionError) -> GraphError {
    match error {
        ExecutionError::WithContext { reason } | ExecutionError::Generic { reason, .. } => {
            GraphError::of(reason)
        }
        other => GraphError::of(other),
    }
}

#[cfg(all(test, feature = "cube-wgpu"))]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use burn::tensor::{Float, Tensor};
    use burn_cubecl::tensor::CubeTensor;

    use super::super::memory::{Reserve, TensorMemory, copy, duplicate};
    use super::super::test_device;
    use super::*;

    fn memory(values: [f32; 3]) -> TensorMemory {
        TensorMemory::of(Tensor::<1>::from_data(values, &test_device())).unwrap()
    }

    fn values(memory: &TensorMemory) -> Vec<f32> {
        memory.clone().into_tensor::<1, Float>().into_data().iter().collect()
    }

    #[test]
    fn errors_are_one_line_with_the_cause() {
        let message = "An error happened\nCaused by:\n  a launch failed: An IO error\nCaused by:\n  \
                       out of memory\nBacktrace:\n   0: main";
        let error = GraphError::of(message).to_string();
        assert_eq!(error, "An error happened: a launch failed: An IO error: out of memory");
        assert_eq!(GraphError::of("not supported").to_string(), "not supported");
    }

    #[test]
    fn memory_that_a_recording_was_missing_can_be_reserved() {
        let device = test_device();
        let CubeTensor { client, .. } = memory([1.0, 2.0, 3.0]).values().clone();
        let bytes = 100 << 20;
        let record = || {
            prepare(&device).unwrap();
            LaunchGraph::record(&device, || client.empty(bytes)).map(|_| ())
        };
        assert_eq!(record().unwrap_err().missing_bytes(), Some(bytes as u64));
        prepare(&device).unwrap();
        drop(Reserve::new(&device, bytes as u64, 1).unwrap());
        LaunchGraph::record(&device, || client.empty(bytes)).unwrap();
        assert_eq!(GraphError::of("not supported").missing_bytes(), None);
        Reserve::new(&device, u64::MAX >> 4, 1).unwrap_err();
        Reserve::new(&Device::flex(), 4, 1).unwrap_err();
        assert_eq!(values(&memory([1.0, 2.0, 3.0])), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn a_replay_computes_with_what_its_inputs_contain() {
        let device = test_device();
        let input = memory([1.0, 2.0, 3.0]);
        let compute = || {
            let input = input.clone().into_tensor::<1, Float>();
            TensorMemory::of((input.clone() * 2.0 + 1.0) * input).unwrap()
        };
        prepare(&device).unwrap();
        assert_eq!(values(&compute()), [3.0, 10.0, 21.0]);
        let (graph, output) = LaunchGraph::record(&device, compute).unwrap();
        for number in [1.0, -2.0, 4.0] {
            copy([(&memory([number, 0.0, 1.0]), &input)]);
            graph.replay().unwrap();
            // Work outside the graph does not get its memory.
            let other = duplicate(&[memory([9.0; 3]), memory([8.0; 3])]);
            assert_eq!(values(&output), [(number * 2.0 + 1.0) * number, 0.0, 3.0]);
            assert_eq!([values(&other[0]), values(&other[1])], [[9.0; 3], [8.0; 3]]);
        }
        let replayed = std::thread::scope(|scope| scope.spawn(|| graph.replay()).join().unwrap());
        assert!(replayed.unwrap_err().to_string().contains("the thread that recorded it"));
    }

    #[test]
    fn a_recording_that_fails_leaves_the_device_usable() {
        let device = test_device();
        let compute = || Tensor::<1>::ones([3], &device) * 2.0;
        let panicked = AssertUnwindSafe(|| {
            LaunchGraph::record(&device, || {
                let _ = compute();
                panic!("expected");
            })
        });
        assert!(catch_unwind(panicked).is_err());
        // Memory that no earlier execution has left.
        let refused = LaunchGraph::record(&device, || Tensor::<1>::ones([12_345_678], &device));
        let message = refused.unwrap_err().to_string();
        assert!(!message.contains('\n') && !message.is_empty(), "{message}");
        assert_eq!(compute().into_data().iter::<f32>().collect::<Vec<_>>(), [2.0; 3]);
        let (graph, output) = LaunchGraph::record(&device, compute).unwrap();
        graph.replay().unwrap();
        assert_eq!(output.into_data().iter::<f32>().collect::<Vec<_>>(), [2.0; 3]);
    }
}
