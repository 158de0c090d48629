//! Devices by name.

use std::str::FromStr;

use burn::tensor::Device;

/// A device with the name by which it was requested: `cpu`, `cuda:0`, `cuda:1`, ...
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) device: Device,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let device = match name.split_once(':') {
            None if name == "cpu" => Some(Device::flex()),
            Some(("cuda", number)) => {
                let number = number.parse().map_err(|_| expected())?;
                Some(cuda(number)?)
            }
            _ => None,
        };
        Ok(Self { name: name.into(), device: device.ok_or_else(expected)? })
    }
}

fn expected() -> String {
    "expected cpu, or cuda with a number, for example cuda:0".into()
}

#[cfg(feature = "cuda")]
fn cuda(number: usize) -> Result<Device, String> {
    let devices = Device::enumerate(burn::tensor::DeviceType::Cuda).into_vec();
    let found = devices.len();
    let device = devices.into_iter().nth(number);
    device.ok_or_else(|| format!("the CUDA driver found {found} devices (numbers start at 0)"))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize) -> Result<Device, String> {
    Err("this program was built without the feature `cuda`".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_devices_are_refused() {
        assert_eq!("cpu".parse::<Named>().map(|named| named.name), Ok("cpu".into()));
        for name in ["", "gpu", "cuda", "cuda:", "cuda:-1", "cpu:0"] {
            assert_eq!(name.parse::<Named>().map(|named| named.name), Err(expected()), "{name}");
        }
    }
}
