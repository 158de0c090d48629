//! Copies of the chain on different parts of a batch: sums over the workers that hold the same
//! subnetworks.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Tensor, TensorData};

use super::Disconnected;
use super::shared::accumulate;

/// Numbers of one precision in a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    Singles(Vec<f32>),
    Doubles(Vec<f64>),
}

/// The workers that hold the same subnetworks, one of each replica. All give vectors of the same
/// length in the same order.
pub(super) trait Group: Send {
    /// Begins to add up a vector over all members.
    fn begin(&mut self, terms: Numbers) -> Result<(), Disconnected>;

    /// Waits for the sum of the oldest vector that was begun; the same bits for all.
    fn end(&mut self) -> Result<Arc<Numbers>, Disconnected>;
}

impl Numbers {
    fn extend(&mut self, data: &TensorData, factor: f64) {
        match self {
            Self::Singles(numbers) if factor == 1.0 => numbers.extend(data.iter::<f32>()),
            Self::Singles(numbers) => {
                numbers.extend(data.iter::<f32>().map(|number| number * factor as f32));
            }
            Self::Doubles(numbers) => {
                numbers.extend(data.iter::<f64>().map(|number| number * factor));
            }
        }
    }

    fn tensor(&self, from: usize, shape: &[usize]) -> TensorData {
        let to = from + shape.iter().product::<usize>();
        match self {
            Self::Singles(numbers) => TensorData::new(numbers[from..to].to_vec(), shape.to_vec()),
            Self::Doubles(numbers) => TensorData::new(numbers[from..to].to_vec(), shape.to_vec()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Singles(numbers) => numbers.len(),
            Self::Doubles(numbers) => numbers.len(),
        }
    }

    fn add(&mut self, other: &Self) {
        match (self, other) {
            (Self::Singles(sum), Self::Singles(terms)) => {
                sum.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            }
            (Self::Doubles(sum), Self::Doubles(terms)) => {
                sum.iter_mut().zip(terms).for_each(|(sum, term)| *sum += term);
            }
            _ => unreachable!("replicas have the same precision"),
        }
    }
}

/// What a worker has begun to add up and not yet taken back.
pub(super) struct Sums {
    group: Box<dyn Group>,
    under_way: VecDeque<(usize, Packed)>,
}

/// Where the tensors of a vector belong: their parameters in its order, and where each begins.
struct Packed {
    places: HashMap<ParamId, usize>,
    statistics: bool,
}

impl Sums {
    pub(super) fn new(group: Box<dyn Group>) -> Self {
        Self { group, under_way: VecDeque::new() }
    }

    /// Replaces each of a few scalars by its sum, at once.
    pub(super) fn scalars(&mut self, terms: &mut [f64]) -> Result<(), Disconnected> {
        self.group.begin(Numbers::Doubles(terms.to_vec()))?;
        match *self.group.end()? {
            Numbers::Doubles(ref sums) => terms.copy_from_slice(sums),
            Numbers::Singles(_) => unreachable!("sums are of the precision of their terms"),
        }
        Ok(())
    }

    /// Takes the gradients that are there of the module of piece `piece`, and begins to add them
    /// up.
    pub(super) fn begin_gradients<M: Module>(
        &mut self,
        piece: usize,
        module: &M,
        gradients: &mut GradientsParams,
    ) -> Result<(), Disconnected> {
        let mut pack = Pack { from: Some(gradients), factor: 1.0, ..Pack::default() };
        module.visit(&mut pack);
        self.begin(piece, pack.numbers, pack.places, false)
    }

    /// Begins to average the running statistics, of which this member's count for `share`.
    pub(super) fn begin_statistics<M: Module>(
        &mut self,
        piece: usize,
        module: &M,
        share: f64,
    ) -> Result<(), Disconnected> {
        let mut pack = Pack { factor: share, ..Pack::default() };
        module.visit(&mut pack);
        self.begin(piece, pack.numbers, pack.places, true)
    }

    fn begin(
        &mut self,
        piece: usize,
        numbers: Option<Numbers>,
        places: HashMap<ParamId, usize>,
        statistics: bool,
    ) -> Result<(), Disconnected> {
        let Some(numbers) = numbers else { return Ok(()) };
        self.group.begin(numbers)?;
        self.under_way.push_back((piece, Packed { places, statistics }));
        Ok(())
    }

    /// Waits for the next sum, and puts it where its terms came from: `of` gives the module of a
    /// piece and its gradients. False where there is none.
    pub(super) fn end_next<'a, M: Module + 'a>(
        &mut self,
        of: impl FnOnce(usize) -> (&'a M, &'a mut GradientsParams),
    ) -> Result<bool, Disconnected> {
        let Some((piece, Packed { places, statistics })) = self.under_way.pop_front() else {
            return Ok(false);
        };
        let numbers = self.group.end()?;
        let (module, gradients) = of(piece);
        match statistics {
            // Running statistics are shared with the clones of their module.
            true => drop(module.clone().map(&mut Settle { places, numbers: &numbers })),
            false => module.visit(&mut Unpack { places, numbers: &numbers, into: gradients }),
        }
        Ok(true)
    }
}

/// Puts gradients, or running statistics, in a row.
#[derive(Default)]
struct Pack<'a> {
    /// The gradients; `None` for running statistics.
    from: Option<&'a mut GradientsParams>,
    factor: f64,
    numbers: Option<Numbers>,
    places: HashMap<ParamId, usize>,
}

impl ModuleVisitor for Pack<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = match &mut self.from {
            Some(gradients) => gradients.remove::<D>(param.id),
            None => (!param.is_require_grad()).then(|| param.val().inner()),
        };
        let Some(tensor) = tensor else { return };
        let numbers = self.numbers.get_or_insert_with(|| match tensor.dtype() {
            DType::F64 => Numbers::Doubles(Vec::new()),
            _ => Numbers::Singles(Vec::new()),
        });
        self.places.insert(param.id, numbers.len());
        numbers.extend(&tensor.into_data(), self.factor);
    }
}

struct Unpack<'a> {
    places: HashMap<ParamId, usize>,
    numbers: &'a Numbers,
    into: &'a mut GradientsParams,
}

impl ModuleVisitor for Unpack<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        // A parameter that occurs several times has one sum.
        if let Some(place) = self.places.remove(&param.id) {
            let like = param.val().inner();
            let data = self.numbers.tensor(place, like.shape().as_slice());
            let gradient = Tensor::<D>::from_data(data, (&like.device(), like.dtype()));
            accumulate(self.into, param.id, gradient);
        }
    }
}

struct Settle<'a> {
    places: HashMap<ParamId, usize>,
    numbers: &'a Numbers,
}

impl ModuleMapper for Settle<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(&place) = self.places.get(&param.id) else { return param };
        param.map(|old| {
            let data = self.numbers.tensor(place, old.shape().as_slice());
            Tensor::from_data(data, (&old.device(), old.dtype()))
        })
    }
}

/// [`Group`] between threads: a table of the sums under way.
pub(super) struct ThreadGroup {
    member: usize,
    begun: u64,
    ended: u64,
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
    terms: BTreeMap<usize, Numbers>,
    sum: Option<Arc<Numbers>>,
    taken: usize,
}

/// The members of a group of threads.
pub(super) fn thread_group(members: usize) -> Vec<ThreadGroup> {
    let (table, changed) = (Mutex::default(), Condvar::new());
    let shared = Arc::new(Shared { members, table, changed });
    (0..members)
        .map(|member| ThreadGroup { member, begun: 0, ended: 0, shared: Arc::clone(&shared) })
        .collect()
}

impl ThreadGroup {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // The table is consistent at every step, also where a holder of the lock panicked.
        self.shared.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Group for ThreadGroup {
    fn begin(&mut self, terms: Numbers) -> Result<(), Disconnected> {
        let call = self.begun;
        self.begun += 1;
        let mut table = self.lock();
        let entry = table.sums.entry(call).or_default();
        entry.terms.insert(self.member, terms);
        if entry.terms.len() == self.shared.members {
            // Whoever comes last adds up, in the order of the members, while others go on.
            let mut terms = std::mem::take(&mut entry.terms).into_values();
            drop(table);
            let mut sum = terms.next().expect("a group has members");
            terms.for_each(|term| sum.add(&term));
            self.lock().sums.entry(call).or_default().sum = Some(Arc::new(sum));
            self.shared.changed.notify_all();
        }
        Ok(())
    }

    fn end(&mut self) -> Result<Arc<Numbers>, Disconnected> {
        let call = self.ended;
        self.ended += 1;
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

impl Drop for ThreadGroup {
    /// A worker that ends, for whatever reason, wakes those who wait for it.
    fn drop(&mut self) {
        self.lock().gone = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_come_in_order_and_are_the_same_for_all() {
        let seen: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = thread_group(3)
                .into_iter()
                .map(|mut member| {
                    scope.spawn(move || {
                        for call in 0..50 {
                            let term = 0.1 * (member.member as f32 + call as f32);
                            member.begin(Numbers::Singles(vec![term, 1.0])).unwrap();
                        }
                        (0..50).map(|_| member.end().unwrap()).collect::<Vec<_>>()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(*seen[0][0], Numbers::Singles(vec![0.1 + 0.2, 3.0]));
        assert_eq!(seen[0], seen[1]);
        assert_eq!(seen[0], seen[2]);
    }

    #[test]
    fn a_member_that_is_gone_holds_nobody_up() {
        let mut members = thread_group(2);
        drop(members.pop());
        let mut left = members.remove(0);
        left.begin(Numbers::Doubles(vec![1.0])).unwrap();
        assert_eq!(left.end().unwrap_err(), Disconnected);
    }
}
