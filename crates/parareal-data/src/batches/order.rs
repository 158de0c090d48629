//! The random order of the images of an epoch.

use crate::rng::{KeyedRng, Purpose};

/// Returns the numbers from 0 to `len - 1` in the random order of an epoch.
///
/// The order depends on `len`, `seed` and `epoch` alone (a Fisher-Yates shuffle with a ChaCha
/// generator keyed by seed and epoch) and is the same on every machine.
pub fn epoch_order(len: usize, seed: u64, epoch: usize) -> Vec<usize> {
    KeyedRng::new(Purpose::Order, seed, epoch as u64, 0).permutation(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_a_permutation() {
        for len in [0, 1, 2, 1_000] {
            let mut order = epoch_order(len, 3, 4);
            order.sort_unstable();
            assert!(order.into_iter().eq(0..len));
        }
    }

    #[test]
    fn an_order_is_repeatable_and_differs_by_seed_and_epoch() {
        let order = epoch_order(100, 3, 4);
        assert_eq!(order, epoch_order(100, 3, 4));
        assert_ne!(order, epoch_order(100, 3, 5));
        assert_ne!(order, epoch_order(100, 4, 4));
        assert_ne!(order, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn every_order_of_three_is_equally_likely() {
        let mut counts = std::collections::BTreeMap::new();
        for epoch in 0..6_000 {
            *counts.entry(epoch_order(3, 1, epoch)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
