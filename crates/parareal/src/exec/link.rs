use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use super::collectives::Disconnected;

/// One side of an interface between two workers.
///
/// In a training step, `U_j` is sent downstream in the forward pass, and `ρ_j` upstream in the backward pass.
pub(super) trait Link<T>: Send {
    /// Announces the number of samples of the next tensor from the other side, so that the link can allocate
    /// memory before it arrives. A later call replaces an earlier one whose tensor did not arrive.
    fn expect(&mut self, samples: usize) {
        let _ = samples;
    }

    /// Sends a tensor to the other side without waiting for it to be received.
    ///
    /// # Errors
    /// [`Disconnected`] if the other side has stopped.
    fn send(&mut self, tensor: T) -> Result<(), Disconnected>;

    /// Waits for a tensor from the other side.
    ///
    /// # Errors
    /// [`Disconnected`] if the other side has stopped.
    fn receive(&mut self) -> Result<T, Disconnected>;

    /// Receives a tensor from the other side if it has arrived.
    ///
    /// # Errors
    /// [`Disconnected`] if the other side has stopped.
    fn try_receive(&mut self) -> Result<Option<T>, Disconnected>;
}

/// A link between two threads.
pub(super) struct ChannelLink<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
}

/// Creates a link and returns its two ends: the upstream worker's and the downstream worker's.
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
