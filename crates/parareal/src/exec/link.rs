use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use super::Disconnected;

/// One side of an interface between two workers: in a training step one tensor goes each way,
/// `U_j` downstream in the forward pass and `ρ_j` upstream in the backward pass.
pub trait Link<T>: Send {
    /// Is told how many samples the next tensor from the other side will have, before it can come:
    /// a link that has to make room for it can do so now. Said again, it is another tensor, and
    /// one that did not come will not.
    fn expect(&mut self, samples: usize) {
        let _ = samples;
    }

    /// Hands a tensor to the other side without waiting for it to be taken.
    ///
    /// # Errors
    /// Where the other side is gone.
    fn send(&mut self, tensor: T) -> Result<(), Disconnected>;

    /// Waits for a tensor from the other side.
    ///
    /// # Errors
    /// Where the other side is gone.
    fn receive(&mut self) -> Result<T, Disconnected>;

    /// Takes a tensor from the other side if there is one.
    ///
    /// # Errors
    /// Where the other side is gone.
    fn try_receive(&mut self) -> Result<Option<T>, Disconnected>;
}

/// A link between two threads.
pub(super) struct ChannelLink<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
}

/// The two ends of a new link: the upstream worker's, then the downstream worker's.
pub(super) fn channel_link<T>() -> (ChannelLink<T>, ChannelLink<T>) {
    let (down_sender, down_receiver) = channel();
    let (up_sender, up_receiver) = channel();
    (
        ChannelLink { sender: down_sender, receiver: up_receiver },
        ChannelLink { sender: up_sender, receiver: down_receiver },
    )
}

impl<T: Send> Link<T> for ChannelLink<T> {
    fn send(&mut self, tensor: T) -> Result<(), Disconnected> {
        self.sender.send(tensor).map_err(|_| Disconnected)
    }

    fn receive(&mut self) -> Result<T, Disconnected> {
        self.receiver.recv().map_err(|_| Disconnected)
    }

    fn try_receive(&mut self) -> Result<Option<T>, Disconnected> {
        match self.receiver.try_recv() {
            Ok(tensor) => Ok(Some(tensor)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(Disconnected),
        }
    }
}
