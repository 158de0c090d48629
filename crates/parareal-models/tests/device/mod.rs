//! The device beside the CPU that tests use.

use burn::tensor::{Device, DeviceKind, DeviceType};

/// Returns a software renderer if there is one, so that the test is the same on all machines with a software
/// renderer. Otherwise returns any other device.
pub(crate) fn other_device() -> Option<Device> {
    let there = Device::enumerate(DeviceType::Wgpu);
    let software = Device::wgpu(DeviceKind::Cpu);
    there.iter().find(|device| **device == software).or_else(|| there.iter().next()).cloned()
}
