//! Data sets in files: made here, whole and faulty, and the real ones where they are at hand.

#![allow(clippy::print_stderr)]

mod cifar;
mod inspection;
mod made;
mod mutations;
mod real;
mod svhn;
