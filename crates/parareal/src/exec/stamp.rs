use burn::backend::{Backend, Dispatch, ProfileDuration, ProfileOptions, ProfileToken};
use burn::tensor::Device;

use super::device::is_cpu;

/// A stamp of a device's clock in its queue, from which a time is measured. It is abandoned if it is dropped.
pub(crate) struct Stamp {
    device: Device,
    token: Option<ProfileToken>,
}

impl Stamp {
    /// Queues a stamp; `None` on the CPU, and on devices that cannot measure times.
    pub(crate) fn new(device: &Device) -> Option<Self> {
        if is_cpu(device) {
            return None;
        }
        let token = Dispatch::profile_start(device.as_dispatch()).ok().flatten()?;
        Some(Self { device: device.clone(), token: Some(token) })
    }

    /// Queues the stamp at the end of the time, which is available once the device has executed all work in between.
    pub(crate) fn end(mut self) -> Option<ProfileDuration> {
        // Operations that Burn holds back for fusion belong to this time.
        let options = ProfileOptions::default().flush();
        Dispatch::profile_end(self.device.as_dispatch(), self.token.take()?, options).ok()
    }
}

impl Drop for Stamp {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            Dispatch::profile_abandon(self.device.as_dispatch(), token);
        }
    }
}
