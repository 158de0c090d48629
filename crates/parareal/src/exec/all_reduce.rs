//! All-reduce between the workers that hold the same subnetworks, one worker per replica.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use burn::tensor::TensorData;

use super::collectives::Disconnected;

/// Elements of one floating-point type that are reduced together.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Bucket {
    F32(Vec<f32>),
    F64(Vec<f64>),
}

/// All-reduce between the workers that hold the same subnetworks, one worker per replica. All members must
/// contribute buckets of the same lengths in the same order.
pub(super) trait AllReduce: Send {
    /// Starts the sum of a bucket over all members.
    fn start(&mut self, terms: Bucket) -> Result<(), Disconnected>;

    /// Waits for the oldest pending sum, which is bitwise equal on all members.
    fn wait(&mut self) -> Result<Arc<Bucket>, Disconnected>;

    /// Replaces each term by its sum over all members. Blocks until the sums are available. No other sum may be pending.
    fn sum(&mut self, terms: &mut [f64]) -> Result<(), Disconnected> {
        self.start(Bucket::F64(terms.to_vec()))?;
        match *self.wait()? {
            Bucket::F64(ref sums) => terms.copy_from_slice(sums),
            Bucket::F32(_) => unreachable!("a sum has the precision of its terms"),
        }
        Ok(())
    }
}

impl Bucket {
    pub(super) fn extend(&mut self, data: &TensorData, factor: f64) {
        match self {
            Self::F32(numbers) if factor == 1.0 => numbers.extend(data.iter::<f32>()),
            Self::F32(numbers) => {
                numbers.extend(data.iter::<f32>().map(|number| number * factor as f32));
            }
            Self::F64(numbers) => {
                numbers.extend(data.iter::<f64>().map(|number| number * factor));
            }
        }
    }

    pub(super) fn tensor(&self, from: usize, shape: &[usize]) -> TensorData {
        let to = from + shape.iter().product::<usize>();
        match self {
            Self::F32(numbers) => TensorData::new(numbers[from..to].to_vec(), shape.to_vec()),
            Self::F64(numbers) => TensorData::new(numbers[from..to].to_vec(), shape.to_vec()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F64(numbers) => numbers.len(),
        }
    }

    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::F32(sum), Self::F32(terms)) => {
                sum.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            }
            (Self::F64(sum), Self::F64(terms)) => {
                sum.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            }
            _ => unreachable!("replicas have the same precision"),
        }
    }
}

/// [`AllReduce`] between threads, with a shared table of the sums in progress.
pub(super) struct ThreadAllReduce {
    member: usize,
    started: u64,
    finished: u64,
    shared: Arc<Shared>,
}

struct Shared {
    members: usize,
    table: Mutex<Table>,
    changed: Condvar,
}

#[derive(Default)]
struct Table {
    sums: BTreeMap<u64, Sum>,
    gone: bool,
}

#[derive(Default)]
struct Sum {
    terms: BTreeMap<usize, Bucket>,
    sum: Option<Arc<Bucket>>,
    taken: usize,
}

/// Creates an all-reduce between `members` threads.
pub(super) fn thread_all_reduce(members: usize) -> Vec<ThreadAllReduce> {
    let (table, changed) = (Mutex::default(), Condvar::new());
    let shared = Arc::new(Shared { members, table, changed });
    (0..members)
        .map(|member| ThreadAllReduce {
            member,
            started: 0,
            finished: 0,
            shared: Arc::clone(&shared),
        })
        .collect()
}

impl ThreadAllReduce {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is consistent at every step, even if a thread panicked while holding the lock.
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AllReduce for ThreadAllReduce {
    fn start(&mut self, terms: Bucket) -> Result<(), Disconnected> {
        let call = self.started;
        self.started += 1;
        let mut table = self.lock();
        let entry = table.sums.entry(call).or_default();
        entry.terms.insert(self.member, terms);
        if entry.terms.len() == self.shared.members {
            // The last member to contribute adds the terms in member order, while the others continue.
            let mut terms = std::mem::take(&mut entry.terms).into_values();
            drop(table);
            let mut sum = terms.next().expect("there are members");
            terms.for_each(|term| sum.add(&term));
            self.lock().sums.entry(call).or_default().sum = Some(Arc::new(sum));
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<Arc<Bucket>, Disconnected> {
        let call = self.finished;
        self.finished += 1;
        let mut table = self.lock();
        loop {
            if let Some(entry) = table.sums.get_mut(&call)
                && let Some(sum) = entry.sum.clone()
            {
                entry.taken += 1;
                if entry.taken == self.shared.members {
                    table.sums.remove(&call);
                }
                return Ok(sum);
            }
            if table.gone {
                return Err(Disconnected);
            }
            table = self.shared.changed.wait(table).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for ThreadAllReduce {
    /// Wakes the workers that wait for this one.
    fn drop(&mut self) {
        self.lock().gone = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_arrive_in_order_and_are_the_same_for_all() {
        let seen: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = thread_all_reduce(3)
                .into_iter()
                .map(|mut member| {
                    scope.spawn(move || {
                        for call in 0..50 {
                            let term = 0.1 * (member.member as f32 + call as f32);
                            member.start(Bucket::F32(vec![term, 1.0])).unwrap();
                        }
                        (0..50).map(|_| member.wait().unwrap()).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(*seen[0][0], Bucket::F32(vec![0.1 + 0.2, 3.0]));
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0], seen[2]);
    }

    #[test]
    fn a_member_that_is_gone_blocks_nobody() {
        let mut members = thread_all_reduce(2);
        drop(members.pop());
        let mut left = members.remove(0);
        left.start(Bucket::F64(vec![1.0])).unwrap();
        assert_eq!(left.wait().unwrap_err(), Disconnected);
    }
}
