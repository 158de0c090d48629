//! Checksum of the contents of a data set.

use parareal_text::in_hexadecimal;
use sha2::{Digest, Sha256};

use crate::dataset::Dataset;
use crate::images::image_set::ImageSet;

impl Dataset {
    /// Returns the SHA-256 of the loaded images and labels in hexadecimal digits. For images in memory, it depends on the
    /// contents and their order, not on the files from which they were read.
    ///
    /// The hash covers the training set, then the test set. For each set it covers the numbers of
    /// images, channels, rows, columns and classes as 64-bit little-endian integers, then the
    /// pixels, then the labels: one byte each for up to 256 classes, otherwise two, little-endian. An absent test set counts
    /// as five zeros.
    ///
    /// Images in files are not read. For each of them, the hash covers in place of the pixels the path of the file below the
    /// folder of the set (`CLASS/NAME`, with `/` between names on all systems), a zero byte, and the length of the file as
    /// a 64-bit little-endian integer. It does not depend on where the folder is and on the time at which a file was modified. A
    /// file whose contents change but not its length remains unnoticed.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for set in [Some(&self.train), self.test.as_ref()] {
            let shape = set.map_or([0; 5], shape);
            for number in shape {
                hash.update((number as u64).to_le_bytes());
            }
            if let Some(set) = set {
                if let Some(pixels) = set.pixels() {
                    hash.update(pixels);
                }
                if let Some(files) = set.files() {
                    files.describe(|path, bytes| {
                        hash.update(path);
                        hash.update([0]);
                        hash.update(bytes.to_le_bytes());
                    });
                }
                hash.update(label_bytes(set));
            }
        }
        in_hexadecimal(&hash.finalize())
    }
}

/// Returns the labels as bytes, of which more than 256 classes need two each.
fn label_bytes(set: &ImageSet) -> Vec<u8> {
    let width = if set.classes() <= 256 { 1 } else { 2 };
    set.labels().iter().flat_map(|label| label.to_le_bytes().into_iter().take(width)).collect()
}

fn shape(set: &ImageSet) -> [usize; 5] {
    [set.len(), set.channels(), set.height(), set.width(), set.classes()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::DatasetName;
    use crate::options::LoadOptions;

    fn set(pixels: [u8; 4], labels: [u16; 2]) -> ImageSet {
        ImageSet::new(1, 1, 2, 3, pixels.to_vec(), labels.to_vec()).unwrap()
    }

    fn shapes() -> Dataset {
        let options =
            LoadOptions { limit_train: Some(2), limit_test: Some(1), ..Default::default() };
        Dataset::load(DatasetName::Shapes, &options).unwrap()
    }

    #[test]
    fn it_is_the_hash_of_the_stated_bytes() {
        let train = set([1, 2, 3, 4], [0, 2]);
        let dataset = Dataset { train, test: None, ..shapes() };
        let mut bytes = Vec::new();
        for number in [2_u64, 1, 1, 2, 3] {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend([1, 2, 3, 4, 0, 2]);
        bytes.extend([0; 40]);
        assert_eq!(dataset.fingerprint(), in_hexadecimal(&Sha256::digest(&bytes)));
        // The published digest of an empty message.
        let empty = in_hexadecimal(&Sha256::digest([]));
        assert!(empty.starts_with("e3b0c44298fc1c14") && empty.ends_with("7852b855"), "{empty}");
    }

    #[test]
    fn labels_of_many_classes_take_two_bytes() {
        let of = |classes, label| {
            let train = ImageSet::new(1, 1, 1, classes, vec![7], vec![label]).unwrap();
            Dataset { train, test: None, ..shapes() }.fingerprint()
        };
        let hash = |classes: u64, label: &[u8]| {
            let shape = [1, 1, 1, 1, classes].map(u64::to_le_bytes).concat();
            in_hexadecimal(&Sha256::digest([&shape, &[7][..], label, &[0; 40]].concat()))
        };
        assert_eq!(of(256, 255), hash(256, &[255]));
        assert_eq!(of(257, 255), hash(257, &[255, 0]));
        assert_eq!(of(1000, 999), hash(1000, &[231, 3]));
    }

    #[test]
    fn every_part_of_the_contents_matters() {
        let dataset =
            |pixels, labels, test| Dataset { train: set(pixels, labels), test, ..shapes() };
        let base = dataset([1, 2, 3, 4], [0, 2], None);
        let same = Dataset { notes: vec!["a note".into()], ..base.clone() };
        assert_eq!(base.fingerprint(), same.fingerprint());
        for other in [
            dataset([1, 2, 3, 5], [0, 2], None),
            dataset([1, 2, 3, 4], [0, 1], None),
            dataset([1, 2, 3, 4], [0, 2], Some(set([0; 4], [0; 2]))),
            Dataset { train: base.train.clone().truncated(1), ..base.clone() },
        ] {
            assert_ne!(base.fingerprint(), other.fingerprint());
        }
    }
}
