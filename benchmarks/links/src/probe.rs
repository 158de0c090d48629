//! Measurement of the latency and bandwidth of a link.

use std::time::Instant;

use parareal::exec::{Communicator, MpiError};
use parareal::plan::{Link, Sample};

/// Tag of the messages between the first two ranks.
const TAG: i32 = 7;

/// Waits for all ranks.
pub(crate) fn meet(all: &Communicator) -> Result<(), MpiError> {
    all.sum_f32(vec![0.0])?.wait().map(drop)
}

/// Measures the link between the first two ranks. All ranks get the same result. The latency is measured with
/// messages of one byte and the bandwidth with messages of `bytes`; the time of a message is half the time of
/// a round trip.
pub(crate) fn link(all: &Communicator, bytes: usize) -> Result<Link, MpiError> {
    let latency = there_and_back(all, 1)? / 2.0;
    let whole = there_and_back(all, bytes)? / 2.0;
    let bandwidth = bytes as f64 / (whole - latency).max(f64::MIN_POSITIVE);
    let told = [latency, bandwidth].map(f64::to_le_bytes).concat();
    let told = all.broadcast(0, told)?.wait()?;
    let number = |at: usize| told[8 * at..8 * at + 8].try_into().map(f64::from_le_bytes);
    let [latency, bandwidth] = [0, 1].map(|at| number(at).expect("there are 8 bytes"));
    Ok(Link { latency, bandwidth })
}

/// Returns the median time of a round trip between the first two ranks, in seconds.
fn there_and_back(all: &Communicator, bytes: usize) -> Result<f64, MpiError> {
    let mut sample = Sample::default();
    for round in 0..10 {
        meet(all)?;
        if all.rank() > 1 {
            continue;
        }
        let peer = 1 - all.rank();
        let coming = all.receive(peer, TAG, bytes)?;
        let begun = Instant::now();
        if all.rank() == 0 {
            let sent = all.send(peer, TAG, vec![0_u8; bytes])?;
            coming.wait()?;
            sent.wait()?;
        } else {
            all.send(peer, TAG, coming.wait()?)?.wait()?;
        }
        if round > 0 {
            sample.push(begun.elapsed().as_secs_f64());
        }
    }
    Ok(sample.median())
}
