use burn::tensor::{DType, Device, TensorData};
use parareal_mpi::{Communicator, Request};

use super::first_error::FirstError;
use crate::exec::collectives::Disconnected;
use crate::exec::link::{ChannelLink, Link};
use crate::net::{SampleShape, Value};

/// Message tags of the two directions.
const DOWNSTREAM: i32 = 1;
const UPSTREAM: i32 = 2;

/// One side of an interface between two ranks.
pub(in crate::exec) struct RankLink {
    communicator: Communicator,
    peer: usize,
    /// The tags of outgoing and of incoming messages.
    tags: (i32, i32),
    /// The shape of one sample at this interface.
    sample: SampleShape,
    /// The type of states.
    dtype: DType,
    /// The type in which tensors are sent.
    message_dtype: DType,
    device: Device,
    /// The number of samples of the next tensor, and the request that receives it.
    expected: Option<(usize, Request<Vec<u8>>)>,
    /// Sends that have not completed.
    sends: Vec<Request<()>>,
    first_error: FirstError,
}

/// The settings that all links of a rank share.
#[derive(Clone)]
pub(super) struct RankLinkConfig {
    pub(super) communicator: Communicator,
    pub(super) dtype: DType,
    pub(super) message_dtype: DType,
    pub(super) device: Device,
    pub(super) first_error: FirstError,
}

impl RankLink {
    /// Creates the end that belongs to the rank upstream of the interface.
    pub(super) fn downstream(config: RankLinkConfig, sample: SampleShape) -> Self {
        let peer = config.communicator.rank() + 1;
        Self::new(config, peer, (DOWNSTREAM, UPSTREAM), sample)
    }

    /// Creates the end that belongs to the rank downstream of the interface.
    pub(super) fn upstream(config: RankLinkConfig, sample: SampleShape) -> Self {
        let peer = config.communicator.rank() - 1;
        Self::new(config, peer, (UPSTREAM, DOWNSTREAM), sample)
    }

    fn new(config: RankLinkConfig, peer: usize, tags: (i32, i32), sample: SampleShape) -> Self {
        let RankLinkConfig { communicator, dtype, message_dtype, device, first_error } = config;
        let (expected, sends) = (None, Vec::new());
        Self {
            communicator,
            peer,
            tags,
            sample,
            dtype,
            message_dtype,
            device,
            expected,
            sends,
            first_error,
        }
    }

    /// Decodes a message into the value at the interface.
    fn value<T: Value>(&self, samples: usize, bytes: &[u8]) -> T {
        let mut rest = bytes;
        let components = self.sample.components().iter().map(|dims| {
            let shape: Vec<usize> = std::iter::once(samples).chain(dims.iter().copied()).collect();
            // The length of a message equals the total size of the tensors at the interface.
            let size = shape.iter().product::<usize>() * self.message_dtype.size();
            let (own, behind) = rest.split_at(size);
            rest = behind;
            TensorData::from_bytes_vec(own.to_vec(), shape, self.message_dtype)
        });
        T::from_data(components.collect(), &self.device, self.dtype)
    }
}

impl<T: Value> Link<T> for RankLink {
    fn expect(&mut self, samples: usize) {
        // Dropping an earlier request cancels it.
        self.expected = None;
        let bytes = samples * self.sample.num_elements() * self.message_dtype.size();
        self.expected = match self.communicator.receive(self.peer, self.tags.1, bytes) {
            Ok(request) => Some((samples, request)),
            Err(error) => {
                self.first_error.note(error);
                None
            }
        };
    }

    fn send(&mut self, tensor: T) -> Result<(), Disconnected> {
        let mut sends = Vec::new();
        for mut request in self.sends.drain(..) {
            if request.test().map_err(|error| self.first_error.note(error))?.is_none() {
                sends.push(request);
            }
        }
        self.sends = sends;
        let message = Message::new(tensor.into_data(), self.message_dtype);
        let sent = self.communicator.send(self.peer, self.tags.0, message);
        self.sends.push(sent.map_err(|error| self.first_error.note(error))?);
        Ok(())
    }

    fn receive(&mut self) -> Result<T, Disconnected> {
        let (samples, request) = self.expected.take().ok_or(Disconnected)?;
        let bytes = request.wait().map_err(|error| self.first_error.note(error))?;
        Ok(self.value(samples, &bytes))
    }

    fn try_receive(&mut self) -> Result<Option<T>, Disconnected> {
        let (samples, request) = self.expected.as_mut().ok_or(Disconnected)?;
        let samples = *samples;
        let taken = request.test().map_err(|error| self.first_error.note(error))?;
        Ok(taken.map(|bytes| {
            self.expected = None;
            self.value(samples, &bytes)
        }))
    }
}

/// A message: the bytes of all tensors of a value, in order.
enum Message {
    /// A single tensor, which is not copied.
    Single(TensorData),
    Several(Vec<u8>),
}

impl Message {
    fn new(data: Vec<TensorData>, dtype: DType) -> Self {
        let mut data: Vec<_> = data
            .into_iter()
            .map(|data| if data.dtype() == dtype { data } else { data.convert_dtype(dtype) })
            .collect();
        match data.len() {
            1 => Self::Single(data.remove(0)),
            _ => Self::Several(data.iter().flat_map(|data| data.as_bytes()).copied().collect()),
        }
    }
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Single(data) => data.as_bytes(),
            Self::Several(bytes) => bytes,
        }
    }
}

/// A link within a rank, or between two ranks.
pub(in crate::exec) enum AnyLink<T> {
    Channel(ChannelLink<T>),
    Rank(Box<RankLink>),
}

impl<T> From<ChannelLink<T>> for AnyLink<T> {
    fn from(link: ChannelLink<T>) -> Self {
        Self::Channel(link)
    }
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
