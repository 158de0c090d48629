//! Timelines of training steps: what each device does and when, measured or predicted.

/// An operation that a device or a link is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activity {
    /// `C_j` and `g_j`, forward.
    FineForward,
    /// `F_{j-1}`, forward: downstream workers wait for it.
    ChainForward,
    /// `h` and the loss, forward and backward.
    Head,
    /// The part of `F_{j-1}`'s backward pass that `ρ_{j-1}` needs: upstream workers wait for it.
    ChainBackward,
    /// The rest of `F_{j-1}`'s backward pass: gradients of weights, for which no worker waits.
    ChainWeights,
    /// Recomputation of `g_j`, for the graphs that the forward pass did not keep.
    Recompute,
    /// `g_j` and `C_j`, backward.
    FineBackward,
    /// A tensor on its way over an interface; the sender does not wait for it.
    Transfer,
    /// Gradients on their way between replicas.
    Reduce,
    /// The optimizer.
    Update,
}

impl Activity {
    /// All kinds, in the order of a step.
    pub const ALL: [Self; 10] = [
        Self::FineForward,
        Self::ChainForward,
        Self::Head,
        Self::ChainBackward,
        Self::ChainWeights,
        Self::Recompute,
        Self::FineBackward,
        Self::Transfer,
        Self::Reduce,
        Self::Update,
    ];

    /// Returns true if a device works on it; the other kinds are communication.
    pub fn is_work(self) -> bool {
        !matches!(self, Self::Transfer | Self::Reduce)
    }

    /// Returns true if it belongs to the coarse network.
    pub fn is_coarse(self) -> bool {
        matches!(self, Self::ChainForward | Self::ChainBackward | Self::ChainWeights)
    }
}

/// One activity of one device, in seconds from the start of the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The device, from 0; of a transfer the sender.
    pub device: usize,
    /// The subnetwork, from 0.
    pub subnetwork: usize,
    /// The kind of activity.
    pub activity: Activity,
    /// Its start, in seconds.
    pub begin: f64,
    /// Its end, in seconds.
    pub end: f64,
}

impl Span {
    /// Its duration in seconds.
    pub fn duration(&self) -> f64 {
        self.end - self.begin
    }
}

/// A training step on several devices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// The number of devices.
    pub devices: usize,
    /// Activities, each device's work in order.
    pub spans: Vec<Span>,
}

impl Timeline {
    /// The end of the last activity in seconds: the makespan.
    pub fn end(&self) -> f64 {
        self.spans.iter().map(|span| span.end).fold(0.0, f64::max)
    }

    /// The time that a device works, in seconds.
    pub fn work(&self, device: usize) -> f64 {
        self.work_of(device).map(Span::duration).sum()
    }

    /// The share of the step in which each device works, from 0 to 1.
    pub fn utilization(&self) -> Vec<f64> {
        let end = self.end().max(f64::MIN_POSITIVE);
        (0..self.devices).map(|device| self.work(device) / end).collect()
    }

    /// The intervals in which a device does nothing, up to the end of the step.
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
