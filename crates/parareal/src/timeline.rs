//! Measured or predicted timelines of training steps: the activities of each device and their times.

/// The kind of work that a device or a link does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activity {
    /// The forward passes of `C_j` and `g_j`.
    FineForward,
    /// The forward pass of `F_{j-1}`, which downstream workers wait for.
    ChainForward,
    /// `h` and the loss, forward and backward.
    Head,
    /// The part of the backward pass of `F_{j-1}` that computes `ρ_{j-1}`, which upstream workers wait for.
    ChainBackward,
    /// The rest of the backward pass of `F_{j-1}`: gradients of weights, which no worker waits for.
    ChainWeights,
    /// Recomputation of `g_j`, for the graphs that the forward pass did not keep.
    Recompute,
    /// The backward passes of `g_j` and `C_j`.
    FineBackward,
    /// Forward and backward passes of all subnetworks of a worker between two messages, whose launches were recorded
    /// ([`ExecutorBuilder::launch_graphs`](crate::exec::ExecutorBuilder::launch_graphs)) and are replayed as one graph.
    Replay,
    /// The transfer of a tensor over an interface. The sender does not wait for it.
    Transfer,
    /// The all-reduce of gradients between replicas.
    Reduce,
    /// The optimizer.
    Update,
}

impl Activity {
    /// All kinds, in the order of a step.
    pub const ALL: [Self; 11] = [
        Self::FineForward,
        Self::ChainForward,
        Self::Head,
        Self::ChainBackward,
        Self::ChainWeights,
        Self::Recompute,
        Self::FineBackward,
        Self::Replay,
        Self::Transfer,
        Self::Reduce,
        Self::Update,
    ];

    /// Returns true if a device computes in this activity, and false for communication.
    pub fn is_work(self) -> bool {
        !matches!(self, Self::Transfer | Self::Reduce)
    }

    /// Returns true if the activity belongs to a coarse network.
    pub fn is_coarse(self) -> bool {
        matches!(self, Self::ChainForward | Self::ChainBackward | Self::ChainWeights)
    }
}

/// One activity of one device, in seconds from the start of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The device, from 0. For a transfer, the sender.
    pub device: usize,
    /// The subnetwork, from 0.
    pub subnetwork: usize,
    /// The kind of activity.
    pub activity: Activity,
    /// The start, in seconds.
    pub begin: f64,
    /// The end, in seconds.
    pub end: f64,
}

impl Span {
    /// Returns the duration, in seconds.
    pub fn duration(&self) -> f64 {
        self.end - self.begin
    }
}

/// A training step on several devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// The number of devices.
    pub devices: usize,
    /// The activities. Those of the same device that are not communication are in order.
    pub spans: Vec<Span>,
}

impl Timeline {
    /// Returns the end of the last activity in seconds: the makespan.
    pub fn end(&self) -> f64 {
        self.spans.iter().map(|span| span.end).fold(0.0, f64::max)
    }

    /// Returns the time that a device computes, in seconds.
    pub fn work(&self, device: usize) -> f64 {
        self.work_of(device).map(Span::duration).sum()
    }

    /// Returns the fraction of the step in which each device computes, from 0 to 1.
    pub fn utilization(&self) -> Vec<f64> {
        let end = self.end().max(f64::MIN_POSITIVE);
        (0..self.devices).map(|device| self.work(device) / end).collect()
    }

    /// Returns the intervals, in seconds, in which a device does not compute, up to the end of the step.
    pub fn waiting(&self, device: usize) -> Vec<[f64; 2]> {
        let mut work: Vec<_> = self.work_of(device).map(|span| [span.begin, span.end]).collect();
        work.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let (mut gaps, mut reached) = (Vec::new(), 0.0);
        for [begin, end] in work {
            if begin > reached {
                gaps.push([reached, begin]);
            }
            reached = end.max(reached);
        }
        if self.end() > reached {
            gaps.push([reached, self.end()]);
        }
        gaps
    }

    fn work_of(&self, device: usize) -> impl Iterator<Item = &Span> {
        self.spans.iter().filter(move |span| span.device == device && span.activity.is_work())
    }
}
