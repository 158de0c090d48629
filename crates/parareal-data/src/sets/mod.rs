//! The data sets and their definitions.
//!
//! Adding a data set takes three steps: add its name in `name.rs`, add a module here with its
//! [`Definition`] and loader, and add a line in [`definition()`].

pub(crate) mod cifar;
pub(crate) mod definition;
pub(crate) mod folder;
pub(crate) mod mnist;
pub mod shapes;
pub(crate) mod stored_images;
pub(crate) mod svhn;

use std::str::FromStr;

use crate::error::DataError;
use crate::name::DatasetName;
use definition::Definition;

/// Returns the definition of a data set.
pub(crate) fn definition(name: DatasetName) -> &'static Definition {
    match name {
        DatasetName::Shapes => &shapes::SHAPES,
        DatasetName::Mnist => &mnist::MNIST,
        DatasetName::Cifar10 => &cifar::CIFAR_10,
        DatasetName::Cifar100 => &cifar::CIFAR_100,
        DatasetName::Svhn => &svhn::SVHN,
        DatasetName::Folder => &folder::FOLDER,
    }
}

impl DatasetName {
    /// Returns true if class numbers have the same meaning wherever the set is loaded.
    ///
    /// Labels can then be compared by number. Otherwise, classes must be compared by name.
    #[must_use]
    pub fn has_fixed_classes(self) -> bool {
        definition(self).classes.are_fixed()
    }

    /// Returns true if the set is published as files, which [`fetch`](crate::fetch) can download.
    #[must_use]
    pub fn is_published(self) -> bool {
        definition(self).publication().is_some()
    }
}

impl FromStr for DatasetName {
    type Err = DataError;

    /// Parses a name, ignoring case.
    fn from_str(name: &str) -> Result<Self, DataError> {
        Self::ALL
            .into_iter()
            .find(|known| known.as_str().eq_ignore_ascii_case(name))
            .ok_or_else(|| DataError::UnknownDataset { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_has_its_name_and_as_many_channels_as_statistics() {
        for name in DatasetName::ALL {
            let definition = definition(name);
            assert_eq!(definition.name, name);
            if let Some(constants) = definition.statistics.normalization() {
                assert_eq!(constants.mean.len(), definition.preprocessing.channels);
                assert_eq!(constants.deviation.len(), definition.preprocessing.channels);
            }
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in DatasetName::ALL {
            assert_eq!(name.to_string().parse::<DatasetName>().unwrap(), name);
        }
        assert_eq!("MNIST".parse::<DatasetName>().unwrap(), DatasetName::Mnist);
        let error = "mnist ".parse::<DatasetName>().unwrap_err();
        assert!(matches!(error, DataError::UnknownDataset { .. }));
    }
}
