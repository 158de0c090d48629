//! The report of a rank to the others after a step, as bytes.

use std::time::Duration;

use burn::tensor::{DType, TensorData};

use crate::exec::step_failure::StepFailure;
use crate::exec::subnetwork_time::SubnetworkTime;

/// The types in which tensors are sent.
const TYPES: [DType; 4] = [DType::F32, DType::F64, DType::I64, DType::I32];
/// More dimensions than any tensor has.
const MAX_DIMENSIONS: u64 = 8;

/// The times of a rank's subnetworks, and the tensors of a value if it has one.
#[derive(Debug, PartialEq)]
pub(super) struct RankReport {
    pub(super) times: Vec<SubnetworkTime>,
    pub(super) tensors: Option<Vec<TensorData>>,
}

impl RankReport {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut number = |number: u64| bytes.extend(number.to_le_bytes());
        number(self.times.len() as u64);
        for time in &self.times {
            number(time.fine.as_nanos() as u64);
            number(time.coarse.as_nanos() as u64);
            number(time.queued.as_nanos() as u64);
            number(time.worker as u64);
        }
        for tensor in self.tensors.into_iter().flatten() {
            // A tensor of another type is converted to the first.
            let kind = TYPES.iter().position(|kind| *kind == tensor.dtype()).unwrap_or(0);
            let tensor = tensor.convert_dtype(TYPES[kind]);
            let mut number = |number: u64| bytes.extend(number.to_le_bytes());
            number(kind as u64);
            number(tensor.rank() as u64);
            tensor.shape().as_slice().iter().for_each(|&size| number(size as u64));
            bytes.extend(tensor.as_bytes());
        }
        bytes
    }

    /// Decodes a report; `None` if the bytes are not one.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(bytes);
        let count = bytes.number()?;
        let mut times = Vec::new();
        for _ in 0..count {
            let [fine, coarse, queued] =
                [bytes.number()?, bytes.number()?, bytes.number()?].map(Duration::from_nanos);
            let worker = usize::try_from(bytes.number()?).ok()?;
            times.push(SubnetworkTime { fine, coarse, queued, worker });
        }
        let mut tensors = Vec::new();
        while !bytes.0.is_empty() {
            tensors.push(bytes.tensor()?);
        }
        Some(Self { times, tensors: (!tensors.is_empty()).then_some(tensors) })
    }
}

/// The bytes of a report that are left.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
    }

    fn tensor(&mut self) -> Option<TensorData> {
        let kind = *TYPES.get(usize::try_from(self.number()?).ok()?)?;
        let dimensions = self.number().filter(|&dimensions| dimensions <= MAX_DIMENSIONS)?;
        let shape: Option<Vec<usize>> =
            (0..dimensions).map(|_| usize::try_from(self.number()?).ok()).collect();
        let shape = shape?;
        let elements = shape.iter().try_fold(1_usize, |all, &size| all.checked_mul(size))?;
        let (own, rest) = self.0.split_at_checked(elements.checked_mul(kind.size())?)?;
        self.0 = rest;
        Some(TensorData::from_bytes_vec(own.to_vec(), shape, kind))
    }
}

/// Faults as text, a line for each name or message.
pub(super) fn encode_failures(failures: &[StepFailure]) -> Vec<u8> {
    let lines = failures.iter().flat_map(|failure| match failure {
        StepFailure::Target(message) => vec![format!("target {}", message.replace('\n', " "))],
        StepFailure::Loss { elements } => vec![format!("loss {elements}")],
        StepFailure::NotRepeated(units) => vec![format!("units {} {}", units.start, units.end)],
        StepFailure::WithoutGradient(names) => {
            names.iter().map(|name| format!("gradient {name}")).collect()
        }
    });
    lines.collect::<Vec<_>>().join("\n").into_bytes()
}

/// Reads the output of [`encode_failures`]; other lines are ignored.
pub(super) fn decode_failures(bytes: &[u8]) -> Vec<StepFailure> {
    let text = String::from_utf8_lossy(bytes);
    let failure = |line: &str| match line.split_once(' ')? {
        ("target", message) => Some(StepFailure::Target(message.to_string())),
        ("loss", elements) => Some(StepFailure::Loss { elements: elements.parse().ok()? }),
        ("units", range) => {
            let (start, end) = range.split_once(' ')?;
            Some(StepFailure::NotRepeated(start.parse().ok()?..end.parse().ok()?))
        }
        ("gradient", name) => Some(StepFailure::WithoutGradient(vec![name.to_string()])),
        _ => None,
    };
    text.lines().filter_map(failure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_back_and_other_bytes_are_none() {
        let failures = [
            StepFailure::Target("expected 1 class, found 2".into()),
            StepFailure::Loss { elements: 5 },
            StepFailure::NotRepeated(3..7),
            StepFailure::WithoutGradient(vec!["units.3.weight".into()]),
            StepFailure::WithoutGradient(vec!["units.4.weight".into()]),
        ];
        assert_eq!(decode_failures(&encode_failures(&failures)), failures);
        assert_eq!(decode_failures(b"\xff\nunits 3\nother 1"), []);
    }

    #[test]
    fn reports_come_back_as_they_were_and_others_not_at_all() {
        let time = SubnetworkTime {
            fine: Duration::from_nanos(7),
            coarse: Duration::from_secs(9),
            queued: Duration::from_millis(3),
            worker: 2,
        };
        let single = TensorData::new(vec![1.0f32, -2.0], [1, 2]);
        let double = TensorData::new(vec![0.5f64; 6], [2, 3, 1]);
        for tensors in [None, Some(vec![single.clone()]), Some(vec![double, single])] {
            let report = || RankReport { times: vec![time; 2], tensors: tensors.clone() };
            let bytes = report().encode();
            assert_eq!(RankReport::decode(&bytes), Some(report()));
            for cut in 0..bytes.len() {
                let found = RankReport::decode(&bytes[..cut]);
                // Times alone are a report as well, and so are fewer tensors.
                let whole = |found: RankReport| found.encode().len() == cut;
                assert!(found.is_none_or(whole), "{cut}");
            }
        }
    }
}
