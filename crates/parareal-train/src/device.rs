//! Device names, and lookup of devices by name.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device};
use parareal::exec::passes_states_directly;

use crate::TrainError;

/// Families of devices besides the CPU. The features of the crate select the families that a build can use.
const FAMILIES: [&str; 5] = ["wgpu", "vulkan", "metal", "cuda", "rocm"];

/// The name of a device: `cpu`, a family with a number (`wgpu:0`), or a family with its software renderer
/// (`wgpu:cpu`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceName {
    family: &'static str,
    which: Which,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    Number(usize),
    Software,
}

impl FromStr for DeviceName {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        let refuse = || {
            let expected = format!(
                "expected cpu, or {} with a number, for example wgpu:0",
                FAMILIES.join(", ")
            );
            TrainError::setting("device", text, expected)
        };
        if text == "cpu" {
            return Ok(Self::cpu());
        }
        let (name, which) = text.split_once(':').unwrap_or((text, "0"));
        let family = FAMILIES.into_iter().find(|family| *family == name).ok_or_else(refuse)?;
        let which = match which {
            "cpu" if !matches!(family, "cuda" | "rocm") => Which::Software,
            number => Which::Number(number.parse().map_err(|_| refuse())?),
        };
        Ok(Self { family, which })
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.which {
            _ if self.is_cpu() => f.write_str("cpu"),
            Which::Software => write!(f, "{}:cpu", self.family),
            Which::Number(number) => write!(f, "{}:{number}", self.family),
        }
    }
}

impl DeviceName {
    /// Returns the name of the CPU.
    #[must_use]
    pub fn cpu() -> Self {
        Self { family: "cpu", which: Which::Software }
    }

    /// Returns true for `cpu`, and false for a software renderer such as `wgpu:cpu`.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        self.family == "cpu"
    }

    /// Returns the device with this name.
    ///
    /// # Errors
    /// If there is no such device ([`TrainError::NoDevice`], with a list of the available ones).
    pub fn find(&self) -> Result<Device, TrainError> {
        if self.is_cpu() {
            return Ok(Device::flex());
        }
        let found = present(self.family);
        let position = found.iter().position(|(name, _)| name == self);
        if let Some(position) = position {
            return Ok(found[position].1.clone());
        }
        let hint = match compiled(self.family) {
            true => String::new(),
            false => format!(" (this program was built without the feature `{}`)", self.family),
        };
        let others = FAMILIES.into_iter().flat_map(present).map(|(name, _)| name.to_string());
        let all: Vec<String> = std::iter::once("cpu".to_string()).chain(others).collect();
        Err(TrainError::NoDevice { name: self.to_string(), hint, present: all.join(", ") })
    }

    /// Returns the device with this name for states of the given type, `None` for that of the parameters.
    ///
    /// # Errors
    /// As [`Self::find`], and if the device cannot compute with this type ([`TrainError::Setting`]).
    pub fn find_for(&self, states: Option<DType>) -> Result<Device, TrainError> {
        let device = self.find()?;
        match states {
            Some(dtype) if !device.supports_dtype(dtype) => {
                let expected =
                    format!("expected one that computes with states of type {}", dtype.name());
                Err(TrainError::setting("device", self, expected))
            }
            _ => Ok(device),
        }
    }
}

/// Returns how states pass between the devices of a process, if they pass between devices.
pub(crate) fn transfer_note(devices: &[DeviceName]) -> Option<String> {
    let (first, others) = devices.split_first()?;
    if others.iter().all(|other| other == first) {
        return None;
    }
    let is_direct = others.iter().all(|other| other.family == first.family)
        && first.find().is_ok_and(|device| passes_states_directly(&device));
    let way = if is_direct { "directly (NCCL)" } else { "through the memory of the host" };
    Some(format!("states pass between devices {way}"))
}

fn compiled(family: &str) -> bool {
    match family {
        "wgpu" => cfg!(feature = "wgpu"),
        "vulkan" => cfg!(feature = "vulkan"),
        "metal" => cfg!(feature = "metal"),
        "cuda" => cfg!(feature = "cuda"),
        "rocm" => cfg!(feature = "rocm"),
        _ => false,
    }
}

/// Returns the devices of a family that this build and this machine support.
fn present(family: &'static str) -> Vec<(DeviceName, Device)> {
    let mut number = 0;
    // Without an installed driver, Burn finds no devices.
    enumerate(family)
        .into_iter()
        .map(|(software, device)| {
            let which = if software {
                Which::Software
            } else {
                number += 1;
                Which::Number(number - 1)
            };
            (DeviceName { family, which }, device)
        })
        .collect()
}

/// Returns the devices of a family, each with `true` if it is a software renderer.
fn enumerate(family: &str) -> Vec<(bool, Device)> {
    match family {
        #[cfg(feature = "wgpu")]
        "wgpu" => {
            graphics(burn::tensor::DeviceType::Wgpu, Device::wgpu(burn::tensor::DeviceKind::Cpu))
        }
        #[cfg(feature = "vulkan")]
        "vulkan" => graphics(
            burn::tensor::DeviceType::Vulkan,
            Device::vulkan(burn::tensor::DeviceKind::Cpu),
        ),
        #[cfg(feature = "metal")]
        "metal" => {
            graphics(burn::tensor::DeviceType::Metal, Device::metal(burn::tensor::DeviceKind::Cpu))
        }
        #[cfg(feature = "cuda")]
        "cuda" => compute(burn::tensor::DeviceType::Cuda),
        #[cfg(feature = "rocm")]
        "rocm" => compute(burn::tensor::DeviceType::Rocm),
        _ => Vec::new(),
    }
}

#[cfg(any(feature = "wgpu", feature = "vulkan", feature = "metal"))]
fn graphics(kind: burn::tensor::DeviceType, software: Device) -> Vec<(bool, Device)> {
    Device::enumerate(kind).into_iter().map(|device| (device == software, device)).collect()
}

#[cfg(any(feature = "cuda", feature = "rocm"))]
fn compute(kind: burn::tensor::DeviceType) -> Vec<(bool, Device)> {
    Device::enumerate(kind).into_iter().map(|device| (false, device)).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::BoolStore;

    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in ["cpu", "wgpu:0", "wgpu:cpu", "vulkan:3", "cuda:1", "rocm:0", "metal:0"] {
            assert_eq!(name.parse::<DeviceName>().unwrap().to_string(), name);
        }
        assert_eq!("cuda".parse::<DeviceName>().unwrap().to_string(), "cuda:0");
        for name in ["", "gpu", "cpu:0", "wgpu:", "wgpu:-1", "cuda:cpu", "CPU"] {
            assert!(name.parse::<DeviceName>().is_err(), "{name}");
        }
    }

    #[test]
    fn a_missing_device_is_refused_with_the_available_ones() {
        let error = "rocm:77".parse::<DeviceName>().unwrap().find().unwrap_err();
        let message = error.to_string();
        assert!(message.contains("rocm:77") && message.contains("available: cpu"), "{message}");
    }

    #[test]
    fn states_of_different_devices_pass_through_the_host() {
        let note = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
            transfer_note(&names)
        };
        assert_eq!(note(&["cpu"]), None);
        assert_eq!(note(&["wgpu:0", "wgpu:0"]), None);
        let through_host =
            Some("states pass between devices through the memory of the host".into());
        assert_eq!(note(&["cpu", "wgpu:cpu"]), through_host);
        assert_eq!(note(&["wgpu:0", "wgpu:cpu"]), through_host);
    }

    #[test]
    fn a_device_must_compute_with_the_states() {
        let cpu = DeviceName::cpu();
        for states in [None, Some(DType::F32), Some(DType::BF16)] {
            assert_eq!(cpu.find_for(states).unwrap(), Device::flex());
        }
        let message = cpu.find_for(Some(DType::Bool(BoolStore::U32))).unwrap_err().to_string();
        assert!(message.starts_with("invalid value `cpu` for device: expected one"), "{message}");
    }
}
