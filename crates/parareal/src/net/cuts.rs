use std::ops::Range;

use super::NetError;

/// The positions at which a network of a given number of units is cut into subnetworks.
///
/// A cut is a position: the number of units before it.
///
/// ```
/// use parareal::net::Cuts;
///
/// let cuts = Cuts::even(10, 3)?;
/// assert_eq!(cuts.positions(), [4, 7]);
/// assert_eq!(cuts.units_of(0), 0..4);
/// # Ok::<(), parareal::net::NetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cuts {
    units: usize,
    positions: Vec<usize>,
}

/// An interface between two neighboring subnetworks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interface {
    /// The number `j` of the interface, from 1 as in the paper. It lies between subnetworks `j` and `j + 1`.
    pub index: usize,
    /// The position of the cut: the number of units before it. `C_{j+1}` ends here, and `F_j` starts here.
    pub position: usize,
    /// The position at which `F_j` ends: the next cut, or the number of units if there is none.
    pub next: usize,
    /// The number of subnetworks, `N`.
    pub subnetworks: usize,
}

impl Cuts {
    /// Cuts a network of `units` units at `positions`. With an empty list the network is not cut.
    ///
    /// # Errors
    /// If there are no units, or a cut is out of range or out of order.
    pub fn new(units: usize, positions: Vec<usize>) -> Result<Self, NetError> {
        if units == 0 {
            return Err(NetError::NoUnits);
        }
        if positions.len() >= units {
            return Err(NetError::TooManySubnetworks { subnetworks: positions.len() + 1, units });
        }
        if let Some(&cut) = positions.iter().find(|&&cut| cut == 0 || cut >= units) {
            return Err(NetError::CutOutOfRange { cut, units });
        }
        if let Some(pair) = positions.windows(2).find(|pair| pair[1] <= pair[0]) {
            return Err(NetError::CutsOutOfOrder { previous: pair[0], cut: pair[1] });
        }
        Ok(Self { units, positions })
    }

    /// Cuts a network into `subnetworks` subnetworks as evenly as possible, with the larger ones first.
    ///
    /// # Errors
    /// If there are no units, no subnetworks, or fewer units than subnetworks.
    pub fn even(units: usize, subnetworks: usize) -> Result<Self, NetError> {
        if units == 0 {
            return Err(NetError::NoUnits);
        }
        if subnetworks == 0 {
            return Err(NetError::NoSubnetworks);
        }
        if subnetworks > units {
            return Err(NetError::TooManySubnetworks { subnetworks, units });
        }
        let (size, larger) = (units / subnetworks, units % subnetworks);
        let positions = (1..subnetworks).map(|j| j * size + j.min(larger)).collect();
        Self::new(units, positions)
    }

    /// Returns the number of units of the network.
    pub fn units(&self) -> usize {
        self.units
    }

    /// Returns the positions of the cuts, in order.
    pub fn positions(&self) -> &[usize] {
        &self.positions
    }

    /// Returns the number of subnetworks, `N`: the number of cuts plus one.
    pub fn subnetworks(&self) -> usize {
        self.positions.len() + 1
    }

    /// Returns the units of the subnetwork with this index, from 0.
    ///
    /// # Panics
    /// If there is no such subnetwork.
    pub fn units_of(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.positions[index - 1] };
        let end = if index == self.positions.len() { self.units } else { self.positions[index] };
        start..end
    }

    /// Returns the interfaces, in order.
    pub fn interfaces(&self) -> impl Iterator<Item = Interface> + '_ {
        (1..self.subnetworks()).map(|index| self.interface(index))
    }

    /// Returns interface `index`, counted from 1 to `N - 1` as in the paper.
    pub(crate) fn interface(&self, index: usize) -> Interface {
        Interface {
            index,
            position: self.positions[index - 1],
            next: self.units_of(index).end,
            subnetworks: self.subnetworks(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_cuts_put_larger_pieces_first() {
        let sizes = |units, n| -> Vec<usize> {
            let cuts = Cuts::even(units, n).unwrap();
            (0..n).map(|j| cuts.units_of(j).len()).collect()
        };
        assert_eq!(sizes(111, 2), [56, 55]);
        assert_eq!(sizes(7, 3), [3, 2, 2]);
        assert_eq!(sizes(5, 5), [1; 5]);
        assert_eq!(sizes(5, 1), [5]);
    }

    #[test]
    fn interfaces_know_where_they_lead() {
        let cuts = Cuts::new(9, vec![2, 5]).unwrap();
        let ends: Vec<_> = cuts.interfaces().map(|i| (i.index, i.position, i.next)).collect();
        assert_eq!(ends, [(1, 2, 5), (2, 5, 9)]);
    }

    #[test]
    fn wrong_cuts_are_refused() {
        assert_eq!(Cuts::new(0, vec![]), Err(NetError::NoUnits));
        assert_eq!(Cuts::even(0, 1), Err(NetError::NoUnits));
        assert_eq!(Cuts::even(3, 0), Err(NetError::NoSubnetworks));
        assert_eq!(
            Cuts::even(3, 4),
            Err(NetError::TooManySubnetworks { subnetworks: 4, units: 3 })
        );
        assert_eq!(
            Cuts::new(3, vec![1, 2, 2]),
            Err(NetError::TooManySubnetworks { subnetworks: 4, units: 3 })
        );
        assert_eq!(Cuts::new(5, vec![0]), Err(NetError::CutOutOfRange { cut: 0, units: 5 }));
        assert_eq!(Cuts::new(5, vec![5]), Err(NetError::CutOutOfRange { cut: 5, units: 5 }));
        for cut in [3, 2] {
            assert_eq!(
                Cuts::new(5, vec![3, cut]),
                Err(NetError::CutsOutOfOrder { previous: 3, cut })
            );
        }
    }
}
