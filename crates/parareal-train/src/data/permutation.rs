//! Order of the samples of an epoch.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Returns the numbers below `count` in a random order that depends only on the seed and the epoch.
///
/// This is a Fisher-Yates shuffle with the output of ChaCha8, which is the same on every machine. Library
/// functions for random integers are not used, because their results may change between versions.
pub(super) fn permutation(count: usize, seed: u64, epoch: usize) -> Vec<usize> {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(epoch as u64).to_le_bytes());
    let mut rng = ChaCha8Rng::from_seed(key);
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, below(&mut rng, last as u64 + 1) as usize);
    }
    order
}

/// Returns a uniformly distributed integer below `bound` (Lemire, 2019).
fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    // The number of words with the same upper half of `word * bound` is `2^64 / bound`, rounded down or up.
    // Surplus words are rejected and drawn again.
    let surplus = bound.wrapping_neg() % bound;
    loop {
        let product = u128::from(rng.next_u64()) * u128::from(bound);
        if product as u64 >= surplus {
            return (product >> 64) as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_appears_once_in_a_different_order() {
        let orders = [(1, 1), (1, 2), (2, 1)].map(|(seed, epoch)| permutation(100, seed, epoch));
        for order in &orders {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..100));
        }
        assert!(orders[0] != orders[1] && orders[0] != orders[2] && orders[1] != orders[2]);
        assert_eq!(orders[0], permutation(100, 1, 1));
        assert!(permutation(0, 1, 1).is_empty());
        assert_eq!(permutation(1, 1, 1), [0]);
    }

    /// Later versions must be able to resume runs of this version.
    #[test]
    fn the_order_of_a_seed_and_an_epoch_stays() {
        assert_eq!(permutation(8, 1, 1), [4, 6, 0, 3, 7, 2, 5, 1]);
    }

    #[test]
    fn all_orders_are_equally_likely() {
        let mut counts = std::collections::HashMap::new();
        for epoch in 0..6_000 {
            *counts.entry(permutation(3, 7, epoch)).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        // An interval of five standard deviations.
        assert!(counts.values().all(|count| (850..1_150).contains(count)), "{counts:?}");
    }
}
