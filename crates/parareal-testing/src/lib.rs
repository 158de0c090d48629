//! Helpers that the tests of several crates share.
//!
//! This crate is only used as a dev-dependency. Only integration tests may use the networks, because a library's
//! unit tests are built with a separate copy of its types.

mod data;
#[cfg(feature = "networks")]
mod dense;
#[cfg(feature = "networks")]
mod executors;
#[cfg(feature = "networks")]
mod layer_net;
#[cfg(feature = "networks")]
pub mod layers;
#[cfg(feature = "networks")]
mod program;
pub mod ranks;
pub mod server;
#[cfg(feature = "tensors")]
mod tensors;
mod tools;

pub use data::real_images;
#[cfg(feature = "networks")]
pub use dense::{CLASSES, Chain, Dense, DenseNet, FEATURES, batch, init};
#[cfg(feature = "networks")]
pub use executors::{
    AnyExecutor, IntoValues, assert_all_close, assert_executors_agree, assert_executors_agree_on,
    assert_recomputing_is_exact, builder, executors, executors_with, joined, sgd, start,
};
#[cfg(feature = "networks")]
pub use layer_net::{LayerNet, LayerUnit};
#[cfg(feature = "networks")]
pub use program::{assert_follows_program, assert_messages_are_sent_first};
#[cfg(feature = "tensors")]
pub use tensors::{assert_close, relative_difference};
pub use tools::{missing, tool};

/// Returns the path of the enclosing test function without the name of the crate, such as `module::test`. The
/// test harness uses the same form.
#[macro_export]
macro_rules! test_name {
    () => {{
        fn marker() {}
        $crate::__test_name(std::any::type_name_of_val(&marker))
    }};
}

/// Strips the crate and the function of [`test_name!`] from a type's name.
#[doc(hidden)]
#[must_use]
pub fn __test_name(marker: &'static str) -> &'static str {
    let path = marker.split_once("::").map_or(marker, |(_, path)| path);
    path.strip_suffix("::marker").unwrap_or(path)
}

/// Tests the code in the workspace's README, which is not part of any published crate.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// Tests the code in the book's page on custom networks.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/src/tutorials/own-network.md")]
struct OwnNetwork;
