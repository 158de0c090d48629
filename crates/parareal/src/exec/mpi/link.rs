use burn::tensor::{DType, Device, TensorData};
use parareal_mpi::{Communicator, Request};

use super::LinkFault;
use crate::exec::link::ChannelLink;
use crate::exec::{Disconnected, Link};
use crate::net::Value;

/// Tags of the two directions.
const DOWNSTREAM: i32 = 1;
const UPSTREAM: i32 = 2;

/// One side of an interface between two ranks.
pub(super) struct RankLink {
    circle: Communicator,
    peer: usize,
    /// Tags of what goes out and of what comes in.
    tags: (i32, i32),
    /// The shape of one sample at this interface.
    sample: Vec<usize>,
    /// The type of the network's tensors, and as what they are sent.
    dtype: DType,
    wire: DType,
    device: Device,
    /// The samples of the next tensor, and the receive that is posted for it.
    expected: Option<(usize, Request<Vec<u8>>)>,
    /// Sends whose memory is not free yet.
    leaving: Vec<Request<()>>,
    fault: LinkFault,
}

/// What both ends of an interface, and all interfaces of a rank, have in common.
#[derive(Clone)]
pub(super) struct Wiring {
    pub(super) circle: Communicator,
    pub(super) dtype: DType,
    pub(super) wire: DType,
    pub(super) device: Device,
    pub(super) fault: LinkFault,
}

impl RankLink {
    /// The end of the rank before the interface.
    pub(super) fn down(wiring: Wiring, sample: Vec<usize>) -> Self {
        let peer = wiring.circle.rank() + 1;
        Self::new(wiring, peer, (DOWNSTREAM, UPSTREAM), sample)
    }

    /// The end of the rank behind the interface.
    pub(super) fn up(wiring: Wiring, sample: Vec<usize>) -> Self {
        let peer = wiring.circle.rank() - 1;
        Self::new(wiring, peer, (UPSTREAM, DOWNSTREAM), sample)
    }

    fn new(wiring: Wiring, peer: usize, tags: (i32, i32), sample: Vec<usize>) -> Self {
        let Wiring { circle, dtype, wire, device, fault } = wiring;
        let (expected, leaving) = (None, Vec::new());
        Self { circle, peer, tags, sample, dtype, wire, device, expected, leaving, fault }
    }

    fn shape(&self, samples: usize) -> Vec<usize> {
        std::iter::once(samples).chain(self.sample.iter().copied()).collect()
    }

    fn tensor<T: Value>(&self, samples: usize, bytes: Vec<u8>) -> T {
        // The link has made room for as many bytes as the interface's shape takes, and MPI has
        // filled it to the last.
        let data = TensorData::from_bytes_vec(bytes, self.shape(samples), self.wire);
        T::from_data(data, &self.device, self.dtype)
    }
}

impl<T: Value> Link<T> for RankLink {
    fn expect(&mut self, samples: usize) {
        // A receive that is posted already is taken back by this.
        self.expected = None;
        let bytes = self.shape(samples).iter().product::<usize>() * self.wire.size();
        self.expected = match self.circle.receive(self.peer, self.tags.1, bytes) {
            Ok(pending) => Some((samples, pending)),
            Err(error) => {
                self.fault.note(error);
                None
            }
        };
    }

    fn send(&mut self, tensor: T) -> Result<(), Disconnected> {
        let mut leaving = Vec::new();
        for mut pending in self.leaving.drain(..) {
            if pending.test().map_err(|error| self.fault.note(error))?.is_none() {
                leaving.push(pending);
            }
        }
        self.leaving = leaving;
        let data = tensor.into_data();
        let data = if data.dtype() == self.wire { data } else { data.convert_dtype(self.wire) };
        let sent = self.circle.send(self.peer, self.tags.0, Message(data));
        self.leaving.push(sent.map_err(|error| self.fault.note(error))?);
        Ok(())
    }

    fn receive(&mut self) -> Result<T, Disconnected> {
        let (samples, pending) = self.expected.take().ok_or(Disconnected)?;
        let bytes = pending.wait().map_err(|error| self.fault.note(error))?;
        Ok(self.tensor(samples, bytes))
    }

    fn try_receive(&mut self) -> Result<Option<T>, Disconnected> {
        let (samples, pending) = self.expected.as_mut().ok_or(Disconnected)?;
        let samples = *samples;
        let taken = pending.test().map_err(|error| self.fault.note(error))?;
        Ok(taken.map(|bytes| {
            self.expected = None;
            self.tensor(samples, bytes)
        }))
    }
}

/// The bytes of a tensor.
struct Message(TensorData);

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// A link within a rank, or between two.
pub(super) enum AnyLink<T> {
    Channel(ChannelLink<T>),
    Rank(Box<RankLink>),
}

impl<T: Value> Link<T> for AnyLink<T> {
    fn expect(&mut self, samples: usize) {
        match self {
            Self::Channel(_) => {}
            Self::Rank(link) => Link::<T>::expect(&mut **link, samples),
        }
    }

    fn send(&mut self, tensor: T) -> Result<(), Disconnected> {
        match self {
            Self::Channel(link) => link.send(tensor),
            Self::Rank(link) => link.send(tensor),
        }
    }

    fn receive(&mut self) -> Result<T, Disconnected> {
        match self {
            Self::Channel(link) => link.receive(),
            Self::Rank(link) => link.receive(),
        }
    }

    fn try_receive(&mut self) -> Result<Option<T>, Disconnected> {
        match self {
            Self::Channel(link) => link.try_receive(),
            Self::Rank(link) => link.try_receive(),
        }
    }
}
