//! Encoding of the report that a rank sends to the other ranks after a step.

use std::time::{Duration, Instant, SystemTime};

use burn::tensor::{DType, TensorData};

use crate::exec::layout::Layout;
use crate::exec::step_failure::StepFailure;
use crate::timeline::{Activity, Span, Timeline};

/// The types in which tensors are sent.
const TYPES: [DType; 4] = [DType::F32, DType::F64, DType::I64, DType::I32];
/// Upper bound on the number of dimensions of a tensor.
const MAX_DIMENSIONS: u64 = 8;

/// The activities of a rank's workers in a step, and the tensors of a value if the rank has one.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RankReport {
    /// The start of the step on the wall clock of the rank, since the Unix epoch.
    pub(super) begun: Duration,
    /// Activities, in seconds since `begun`.
    pub(super) spans: Vec<Span>,
    pub(super) tensors: Option<Vec<TensorData>>,
}

/// Reads the monotonic clock and, at the same moment, the wall clock as the time since the Unix epoch.
pub(super) fn clocks() -> (Instant, Duration) {
    let read = |_| {
        let before = Instant::now();
        // A wall clock that shows a time before the epoch has not been set, and counts as 0.
        let wall_clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let between = before.elapsed();
        (between, (before + between / 2, wall_clock.unwrap_or_default()))
    };
    // The process may be interrupted between two readings, so the closest pair of several is used.
    (0..10).map(read).min_by_key(|(between, _)| *between).expect("ten readings").1
}

impl RankReport {
    /// Encodes a report. Times are sent in whole nanoseconds. The device of a span is not sent, because it
    /// follows from the subnetwork.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let nanoseconds = |seconds: f64| ((1e9 * seconds).round() as u64).to_le_bytes();
        bytes.extend((self.begun.as_nanos() as u64).to_le_bytes());
        bytes.extend((self.spans.len() as u64).to_le_bytes());
        for span in &self.spans {
            let activity = Activity::ALL.iter().position(|activity| *activity == span.activity);
            bytes.push(activity.expect("all activities are listed") as u8);
            bytes.extend((span.subnetwork as u32).to_le_bytes());
            bytes.extend(nanoseconds(span.begin));
            // The resolution of a device's clock may be coarser than the duration of an activity.
            bytes.extend(nanoseconds(span.end.max(span.begin)));
        }
        for tensor in self.tensors.into_iter().flatten() {
            // A tensor of any other type is converted to the first type.
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

    /// Decodes the report of a rank; `None` if the bytes are not a valid report.
    pub(super) fn decode(bytes: &[u8], layout: &Layout, rank: usize) -> Option<Self> {
        let (mut bytes, rank) = (Bytes(bytes), layout.rank(rank));
        let begun = Duration::from_nanos(bytes.number()?);
        let count = bytes.number()?;
        let mut spans = Vec::new();
        for _ in 0..count {
            let [activity] = bytes.array()?;
            let activity = *Activity::ALL.get(usize::from(activity))?;
            let subnetwork = u32::from_le_bytes(bytes.array()?) as usize;
            if !rank.subnetworks.contains(&subnetwork) {
                return None;
            }
            let worker = layout.worker_of(subnetwork);
            let device = layout.worker_number(rank.replicas.start, worker);
            let times = [bytes.number()?, bytes.number()?];
            let [begin, end] = times.map(|time| Duration::from_nanos(time).as_secs_f64());
            if end < begin {
                return None;
            }
            spans.push(Span { device, subnetwork, activity, begin, end });
        }
        let mut tensors = Vec::new();
        while !bytes.0.is_empty() {
            tensors.push(bytes.tensor()?);
        }
        Some(Self { begun, spans, tensors: (!tensors.is_empty()).then_some(tensors) })
    }

    /// Joins the activities of all ranks, in seconds since the first rank began the step.
    pub(super) fn timeline(reports: &[Self], devices: usize) -> Timeline {
        let first = reports.iter().map(|report| report.begun).min().unwrap_or_default();
        let spans = reports.iter().flat_map(|report| {
            let late = (report.begun - first).as_secs_f64();
            let shifted =
                move |span: &Span| Span { begin: late + span.begin, end: late + span.end, ..*span };
            report.spans.iter().map(shifted)
        });
        Timeline { devices, spans: spans.collect() }
    }
}

/// The bytes of a report that have not been read yet.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn number(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
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

/// Encodes failures as text, with one line per name or message.
pub(super) fn encode_failures(failures: &[StepFailure]) -> Vec<u8> {
    let lines = failures.iter().flat_map(|failure| match failure {
        StepFailure::Target(message) => vec![format!("target {}", message.replace('\n', " "))],
        StepFailure::Loss { elements } => vec![format!("loss {elements}")],
        StepFailure::NotRepeated(units) => vec![format!("units {} {}", units.start, units.end)],
        #[cfg(feature = "cube")]
        StepFailure::LaunchGraphs(reason) => vec![format!("graphs {}", reason.replace('\n', " "))],
        StepFailure::WithoutGradient(names) => {
            names.iter().map(|name| format!("gradient {name}")).collect()
        }
    });
    lines.collect::<Vec<_>>().join("\n").into_bytes()
}

/// Decodes the output of [`encode_failures`]; other lines are ignored.
pub(super) fn decode_failures(bytes: &[u8]) -> Vec<StepFailure> {
    let text = String::from_utf8_lossy(bytes);
    let failure = |line: &str| match line.split_once(' ')? {
        ("target", message) => Some(StepFailure::Target(message.to_string())),
        ("loss", elements) => Some(StepFailure::Loss { elements: elements.parse().ok()? }),
        ("units", range) => {
            let (start, end) = range.split_once(' ')?;
            Some(StepFailure::NotRepeated(start.parse().ok()?..end.parse().ok()?))
        }
        #[cfg(feature = "cube")]
        ("graphs", reason) => Some(StepFailure::LaunchGraphs(reason.to_string())),
        ("gradient", name) => Some(StepFailure::WithoutGradient(vec![name.to_string()])),
        _ => None,
    };
    text.lines().filter_map(failure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_round_trip_and_other_bytes_are_ignored() {
        let failures = vec![
            StepFailure::Target("expected 1 class, found 2".into()),
            StepFailure::Loss { elements: 5 },
            StepFailure::NotRepeated(3..7),
            #[cfg(feature = "cube")]
            StepFailure::LaunchGraphs("a reason".into()),
            StepFailure::WithoutGradient(vec!["units.3.weight".into()]),
            StepFailure::WithoutGradient(vec!["units.4.weight".into()]),
        ];
        assert_eq!(decode_failures(&encode_failures(&failures)), failures);
        assert_eq!(decode_failures(b"\xff\nunits 3\nother 1"), []);
    }

    /// Two replicas of nine subnetworks, on three ranks each. The second rank of a replica has two workers
    /// and three subnetworks. In the second replica its workers have the indices 8 and 9.
    fn layout() -> Layout {
        Layout::ranks(9, 6, 2, 2).unwrap()
    }

    const RANK: usize = 4;

    fn report(tensors: Option<Vec<TensorData>>) -> RankReport {
        let span = |device, subnetwork, activity, [begin, end]: [u64; 2]| {
            let [begin, end] = [begin, end].map(|time| Duration::from_nanos(time).as_secs_f64());
            Span { device, subnetwork, activity, begin, end }
        };
        let spans = vec![
            span(8, 3, Activity::FineForward, [0, 7]),
            span(8, 4, Activity::ChainForward, [7, 1_000_000_007]),
            span(9, 5, Activity::Update, [123_456_789, 123_456_789]),
        ];
        RankReport { begun: Duration::new(1_700_000_000, 1), spans, tensors }
    }

    #[test]
    fn reports_round_trip_and_invalid_ones_are_refused() {
        let single = TensorData::new(vec![1.0f32, -2.0], [1, 2]);
        let double = TensorData::new(vec![0.5f64; 6], [2, 3, 1]);
        for tensors in [None, Some(vec![single.clone()]), Some(vec![double, single])] {
            let bytes = report(tensors.clone()).encode();
            let decode = |bytes: &[u8]| RankReport::decode(bytes, &layout(), RANK);
            assert_eq!(decode(&bytes), Some(report(tensors.clone())));
            for cut in 0..bytes.len() {
                let found = decode(&bytes[..cut]);
                // A report may end after the spans or after any tensor.
                let whole = |found: RankReport| found.encode().len() == cut;
                assert!(found.is_none_or(whole), "{cut}");
            }
        }
    }

    #[test]
    fn spans_of_other_ranks_and_impossible_ones_are_refused() {
        let bytes = report(None).encode();
        let decode = |bytes: &[u8]| RankReport::decode(bytes, &layout(), RANK);
        // The start of the step and the number of spans, followed by the activity, subnetwork, begin and end
        // of the first span.
        let (count, activity, subnetwork, begin) = (8, 16, 17, 21);
        for (at, value) in [
            (count, 4),
            (count + 7, 0xff),
            (activity, Activity::ALL.len() as u8),
            (activity, 0xff),
            (subnetwork, 2),
            (subnetwork, 6),
            (subnetwork + 3, 0xff),
            (begin, 8),
        ] {
            let mut other = bytes.clone();
            other[at] = value;
            assert_eq!(decode(&other), None, "{at}: {value}");
        }
        assert_eq!(RankReport::decode(&bytes, &layout(), RANK - 1), None);
        // In another replica, other workers hold the same subnetworks.
        let first = RankReport::decode(&bytes, &layout(), 1).unwrap();
        let devices: Vec<usize> = first.spans.iter().map(|span| span.device).collect();
        assert_eq!(devices, [2, 2, 3]);
    }

    #[test]
    fn a_timeline_begins_with_the_first_rank() {
        let span = |device, subnetwork, begin, end| {
            let activity = Activity::FineForward;
            Span { device, subnetwork, activity, begin, end }
        };
        let report = |milliseconds: u64, span| {
            let begun = Duration::from_millis(1_700_000_000_000 + milliseconds);
            RankReport { begun, spans: vec![span], tensors: None }
        };
        let reports = [
            report(500, span(0, 0, 0.25, 1.0)),
            report(0, span(1, 1, 0.5, 0.75)),
            RankReport { begun: Duration::from_secs(1_700_000_002), ..RankReport::default() },
        ];
        let timeline = RankReport::timeline(&reports, 3);
        assert_eq!(timeline.devices, 3);
        assert_eq!(timeline.spans, [span(0, 0, 0.75, 1.5), span(1, 1, 0.5, 0.75)]);
        assert_eq!(RankReport::timeline(&[], 0), Timeline::default());
    }
}
