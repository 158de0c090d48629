//! Data sets in files that the tests write, complete and faulty.

mod cifar;
mod inspection;
mod made;
mod mutations;
mod svhn;
