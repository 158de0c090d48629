//! Clusters of nodes with several GPUs, with one kind of link within a node and another between nodes.

use parareal::plan::Link;

/// A cluster. All GPUs of a node can use the links to other nodes at the same time, at full speed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Machine {
    pub(crate) name: &'static str,
    /// Number of GPUs per node.
    node: usize,
    /// Latency of a message in seconds.
    latency: f64,
    /// Bandwidth in bytes per second in one direction, within a node and between nodes.
    inside: f64,
    between: f64,
}

const GIGABIT: f64 = 1e9 / 8.0;

/// The machines of the comparison.
pub(crate) const MACHINES: [Machine; 3] = [
    Machine {
        name: "nodes of 8: 300 GB/s within, 200 Gbit/s between",
        node: 8,
        latency: 5e-6,
        inside: 300e9,
        between: 200.0 * GIGABIT,
    },
    Machine::of_single("10 Gbit/s Ethernet", 10.0),
    Machine::of_single("1 Gbit/s Ethernet", 1.0),
];

impl Machine {
    /// Returns a cluster of nodes with one GPU each.
    pub(crate) const fn of_single(name: &'static str, gigabits: f64) -> Self {
        let bandwidth = gigabits * GIGABIT;
        Self { name, node: 1, latency: 50e-6, inside: bandwidth, between: bandwidth }
    }

    /// Returns the slowest link among this many GPUs.
    pub(crate) fn slowest(&self, gpus: usize) -> Link {
        self.link(gpus > self.node)
    }

    /// Returns the link after piece `index` of `pieces`, if `replicas` chains are placed on consecutive GPUs.
    /// The slowest link of all chains counts, because the chains wait for each other.
    pub(crate) fn behind(&self, index: usize, pieces: usize, replicas: usize) -> Link {
        let mut firsts = (0..replicas).map(|replica| replica * pieces);
        self.link(firsts.any(|first| (first + index + 1).is_multiple_of(self.node)))
    }

    fn link(&self, crosses: bool) -> Link {
        let bandwidth = if crosses { self.between } else { self.inside };
        Link { latency: self.latency, bandwidth }
    }
}

/// Returns the duration of a ring all-reduce of `bytes`, in seconds. It sends `2 (R - 1)` messages one after
/// the other, each with `1/R` of the bytes (Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms for
/// clusters of workstations", 2009). [`parareal::plan::Scenario`] uses the same model.
pub(crate) fn ring(replicas: usize, bytes: f64, link: Link) -> f64 {
    match replicas {
        0 | 1 => 0.0,
        _ => 2.0 * (replicas - 1) as f64 * link.time(bytes / replicas as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_sends_twice_almost_all() {
        let link = Link { latency: 0.5, bandwidth: 10.0 };
        // Two messages of 20 bytes; six of 10.
        assert_eq!(ring(2, 40.0, link), 2.0 * (0.5 + 2.0));
        assert_eq!(ring(4, 40.0, link), 6.0 * (0.5 + 1.0));
        assert_eq!(ring(1, 40.0, link), 0.0);
    }

    #[test]
    fn chains_cross_from_node_to_node() {
        let [nodes, ..] = MACHINES;
        let crosses =
            |index, pieces, replicas| nodes.behind(index, pieces, replicas).bandwidth == 25e9;
        assert!((0..7).all(|index| !crosses(index, 8, 8)));
        assert!(crosses(7, 18, 1) && crosses(15, 18, 1) && !crosses(8, 18, 1));
        // The second chain of six lies on GPUs 6 to 11.
        assert!(crosses(1, 6, 2) && !crosses(1, 6, 1));
        assert_eq!(nodes.slowest(8).bandwidth, 300e9);
        assert_eq!(nodes.slowest(9).bandwidth, 25e9);
    }
}
