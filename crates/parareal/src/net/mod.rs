//! The transformation of a feed-forward network into a parareal network.
//!
//! A feed-forward network `f = h ∘ g ∘ C` consists of a preprocessing module `C`, a sequence of units `g` and
//! a postprocessing module `h` ([`FeedForward`]). It is cut between its units ([`Cuts`]) into subnetworks
//! `g_1 .. g_N`, and each interface gets modules `C_j` and `F_j` ([`Coarsen`]). The result is the parareal
//! network ([`PararealNetwork`])
//!
//! ```text
//! x_j = C_j(x),  y_j = g_j(x_j)                        j = 1..N    (2)
//! r_j = y_j - x_{j+1},  r_N = 0                                    (3a)
//! r̃_1 = r_1,  r̃_{j+1} = r_{j+1} + F_j(r̃_j)                         (3b)
//! ỹ = y_N + r̃_N,  f̃(x) = h(ỹ)                                      (3c), (4)
//! ```
//!
//! [`crate::exec`] executes an equivalent form, the *coarse chain*: `U_1 = y_1`,
//! `U_{j+1} = y_{j+1} + F_j(U_j - x_{j+1})`, `f̃(x) = h(U_N)`. Both forms are equal because
//! `U_j - x_{j+1} = r̃_j`.

mod any_layer;
mod bitwise;
mod build;
mod cuts;
mod error;
mod feed_forward;
mod init;
mod initialize;
mod named_tensor;
mod parareal_network;
mod random_modules;
mod receptive_field;
mod sample_shape;
mod sequential_network;
mod state_dict;
mod subnetwork;
mod subnetwork_forward;
mod subnetwork_tensors;
mod value;

pub use any_layer::{AnyLayer, layer, layer_fn};
pub use build::build_subnetwork;
pub use cuts::{Cuts, Interface};
pub use error::{NetError, ShapeError};
pub use feed_forward::{Coarsen, FeedForward, Layer};
pub use init::Init;
pub use named_tensor::NamedTensor;
pub use parareal_network::PararealNetwork;
pub use receptive_field::{ReceptiveField, units_to_cover, units_within_cost};
pub use sample_shape::SampleShape;
pub use sequential_network::{Sequential, SequentialBuilder};
pub use state_dict::StateDict;
pub use subnetwork::{Subnetwork, SubnetworkOf};
pub use value::{Activation, Value, ValueMapper, WithContext};

#[cfg(feature = "mpi")]
pub(crate) use build::build_subnetworks;
pub(crate) use subnetwork_forward::forward_units;
pub(crate) use subnetwork_tensors::{Identity, named_gradients, names_without_gradient};
