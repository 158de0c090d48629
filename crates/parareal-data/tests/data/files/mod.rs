//! Data sets in valid and invalid files that the tests write.

mod cifar;
mod inspection;
mod made;
mod mutations;
mod svhn;
