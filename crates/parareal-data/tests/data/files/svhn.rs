//! Loading SVHN from small MATLAB files.

use parareal_data::DatasetName::Svhn;
use parareal_data::{Augmentation, FileFault};

use super::made::{
    CLASS_CHAR, CLASS_DOUBLE, CLASS_STRUCT, CLASS_UINT8, DOUBLE, Folder, INT8, Mat, UINT8, UINT16,
    column_major, gzip, image,
};

const TRAIN: &str = "train_32x32.mat";
const TEST: &str = "test_32x32.mat";

/// Creates a small SVHN with three training images and two test images.
pub(crate) fn folder(mat: Mat) -> Folder {
    Folder::new("svhn").with(TRAIN, &mat.svhn(&[1, 10, 9], 0)).with(TEST, &mat.svhn(&[4, 10], 50))
}

/// Returns the fault and message of a training file.
fn fault(bytes: &[u8]) -> (FileFault, String) {
    folder(Mat::default()).with(TRAIN, bytes).fault(Svhn, TRAIN)
}

#[test]
fn images_are_transposed_and_label_ten_is_the_digit_zero() {
    for mat in Mat::all() {
        let dataset = folder(mat).load(Svhn).unwrap();
        let test = dataset.test.as_ref().unwrap();
        assert_eq!(dataset.train.labels(), [1, 0, 9]);
        assert_eq!(test.labels(), [4, 0]);
        for (set, first) in [(&dataset.train, 0), (test, 50)] {
            assert_eq!((set.channels(), set.height(), set.width(), set.classes()), (3, 32, 32, 10));
            assert!(
                (0..set.len()).all(|index| set.image(index).unwrap() == image(first + index)),
                "{mat:?}"
            );
        }
        assert_eq!(dataset.augmentation, Augmentation::None);
        assert_eq!(dataset.class_names[3], "3");
        assert_eq!(dataset.notes.len(), 1);
        let numbers = "3 of 73257 training images and 2 of 26032 test images";
        assert!(dataset.notes[0].contains(numbers), "{:?}", dataset.notes);
    }
}

#[test]
fn labels_may_be_of_any_type_of_number() {
    let labels: Vec<u8> = (1..=10).collect();
    for mat in Mat::all() {
        for kind in [1, 2, 3, 4, 5, 6, 7, 9, 12, 13] {
            let bytes = [mat.header(), mat.labels(kind, &labels), mat.images(10, 7)].concat();
            let dataset = folder(mat).with(TRAIN, &bytes).load(Svhn).unwrap();
            assert_eq!(dataset.train.labels(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 0], "{mat:?} {kind}");
            assert_eq!(dataset.train.image(9).unwrap(), image(16));
        }
    }
}

#[test]
fn other_variables_and_outer_compression_are_accepted() {
    for mat in Mat::all() {
        let bytes = [
            mat.header(),
            mat.array("note", CLASS_CHAR, &[1, 3], UINT16, &mat.numbers(UINT16, b"abc")),
            mat.array("record", CLASS_STRUCT, &[1, 1], 5, &[0; 4]),
            mat.array("none", CLASS_DOUBLE, &[0, 0], DOUBLE, &[]),
            mat.images(3, 0),
            mat.array("z", CLASS_DOUBLE, &[1, 2], DOUBLE, &[0; 16]),
            mat.labels(DOUBLE, &[1, 10, 9]),
        ]
        .concat();
        let whole = folder(mat).load(Svhn).unwrap().fingerprint();
        assert_eq!(folder(mat).with(TRAIN, &bytes).load(Svhn).unwrap().fingerprint(), whole);
        let folder = folder(mat).without(TRAIN).with("train_32x32.mat.gz", &gzip(&bytes));
        assert_eq!(folder.load(Svhn).unwrap().fingerprint(), whole);
    }
}

#[test]
fn one_image_needs_no_fourth_dimension() {
    for mat in Mat::all() {
        for dimensions in [&[32, 32, 3][..], &[32, 32, 3, 1]] {
            let images = mat.array("X", CLASS_UINT8, dimensions, UINT8, &column_major(1, 5));
            let bytes = [mat.header(), images, mat.labels(UINT8, &[7])].concat();
            let dataset = folder(mat).with(TRAIN, &bytes).load(Svhn).unwrap();
            assert_eq!(
                (dataset.train.labels(), &dataset.train.image(0).unwrap()[..]),
                (&[7][..], &image(5)[..])
            );
        }
    }
}

#[test]
fn limits_and_held_out_images_take_the_right_images() {
    let folder = folder(Mat::default());
    let dataset = folder.load_some(Svhn, Some(2), Some(1)).unwrap();
    assert_eq!((dataset.train.labels(), dataset.test.unwrap().labels()), (&[1, 0][..], &[4][..]));
    assert!(folder.load_some(Svhn, None, Some(0)).unwrap().test.is_none());
    let folder = folder.without(TEST);
    let dataset = folder.load(Svhn).unwrap();
    assert_eq!((dataset.train.len(), dataset.test.unwrap().len()), (2, 1));
    assert!(dataset.notes[1].contains("1 of the 3 training images"), "{:?}", dataset.notes);
    assert_eq!(folder.load_some(Svhn, None, Some(0)).unwrap().train, dataset.train);
    let (fault, text) = folder.without(TRAIN).fault(Svhn, TRAIN);
    assert_eq!(fault, FileFault::Missing);
    assert!(text.contains("stanford"), "{text}");
}

#[test]
fn every_truncation_is_detected() {
    for mat in Mat::all() {
        let bytes = mat.svhn(&[3, 2], 0);
        let end_of_images = 128 + mat.images(2, 0).len();
        let places = (0..400).chain((400..bytes.len() - 100).step_by(97));
        for len in places.chain(bytes.len() - 100..bytes.len()) {
            let (fault, text) = fault(&bytes[..len]);
            assert_eq!(fault, FileFault::Truncated, "{mat:?} at {len}: {text}");
        }
        assert!(fault(&bytes[..end_of_images]).1.contains("no array y"));
    }
}

#[test]
fn more_bytes_than_variables_are_refused() {
    for mat in Mat::all() {
        let bytes = mat.svhn(&[3, 2], 0);
        assert_eq!(fault(&[&bytes[..], &[0; 7]].concat()).0, FileFault::Truncated);
        assert_eq!(fault(&[&bytes[..], &[0; 8]].concat()).0, FileFault::Foreign);
        let again = [bytes, mat.labels(UINT8, &[3, 2])].concat();
        let (found, text) = fault(&again);
        assert_eq!(found, FileFault::Foreign);
        assert!(text.contains("y twice"), "{text}");
    }
}

#[test]
fn labels_that_are_not_digits_are_refused() {
    let mat = Mat::default();
    for label in [0.0_f64, 11.0, 1.5, -1.0, f64::NAN, f64::INFINITY] {
        let numbers = [5.0_f64.to_le_bytes(), label.to_le_bytes()].concat();
        let labels = mat.array("y", CLASS_DOUBLE, &[2, 1], DOUBLE, &numbers);
        let (found, text) = fault(&[mat.header(), mat.images(2, 0), labels].concat());
        assert_eq!(found, FileFault::Label);
        assert!(text.contains(&format!("label {label} at image 1")), "{text}");
    }
    let bytes = [mat.header(), mat.images(2, 0), mat.labels(INT8, &[1, 255])].concat();
    assert!(fault(&bytes).1.contains("label -1 at image 1"));
    let bytes = [mat.header(), mat.images(2, 0), mat.labels(UINT8, &[1, 2, 3])].concat();
    assert_eq!(fault(&bytes).0, FileFault::Count);
}

#[test]
fn other_dimensions_and_types_are_refused() {
    for mat in Mat::all() {
        let pixels = column_major(2, 0);
        for (dimensions, expected) in [
            (&[32, 32, 3, 0][..], FileFault::Dimensions),
            (&[32, 32, 3, 1], FileFault::Dimensions),
            (&[32, 32, 3, 3], FileFault::Dimensions),
            (&[32, 32, 3, 73_258], FileFault::Dimensions),
            (&[32, 32, 3, u32::MAX], FileFault::Dimensions),
            (&[32, 32, 1, 6], FileFault::Dimensions),
            (&[2, 32, 32, 3], FileFault::Dimensions),
            (&[32, 32, 3, 2, 1], FileFault::Dimensions),
            (&[32, 32, 6], FileFault::Dimensions),
            (&[u32::MAX; 32], FileFault::Dimensions),
            (&[1; 33], FileFault::Foreign),
            (&[], FileFault::Dimensions),
        ] {
            let images = mat.array("X", CLASS_UINT8, dimensions, UINT8, &pixels);
            let bytes = [mat.header(), images, mat.labels(UINT8, &[1, 2])].concat();
            assert_eq!(fault(&bytes).0, expected, "{mat:?} {dimensions:?}");
        }
        for dimensions in [&[1, 2][..], &[2], &[2, 1, 1], &[2, 2], &[0, 1]] {
            let labels = mat.array("y", CLASS_DOUBLE, dimensions, UINT8, &[1, 2]);
            let bytes = [mat.header(), mat.images(2, 0), labels].concat();
            assert_eq!(fault(&bytes).0, FileFault::Dimensions, "{mat:?} {dimensions:?}");
        }
        let doubled = pixels.repeat(2);
        let images = mat.array("X", CLASS_DOUBLE, &[32, 32, 3, 2], UINT16, &doubled);
        let bytes = [mat.header(), images, mat.labels(UINT8, &[1, 2])].concat();
        assert_eq!(fault(&bytes).0, FileFault::Foreign);
    }
}

#[test]
fn other_files_are_recognized_by_their_header() {
    let bytes = Mat::default().svhn(&[3, 2], 0);
    for (place, byte) in [(124, 7), (125, 9), (126, b'X'), (127, b'X')] {
        let mut bytes = bytes.clone();
        bytes[place] = byte;
        assert_eq!(fault(&bytes).0, FileFault::Foreign);
    }
    let mut newer = bytes;
    newer[125] = 2;
    let (found, text) = fault(&newer);
    assert_eq!(found, FileFault::Foreign);
    assert!(text.contains("7.3") && text.contains("-v7"), "{text}");
}

#[test]
fn stated_lengths_are_checked() {
    for mat in Mat::all() {
        // The flags, dimensions, name and numbers state a huge length in turn.
        let contents =
            mat.array_contents("X", CLASS_UINT8, &[32, 32, 3, 2], UINT8, &column_major(2, 0));
        for place in [8, 24, 44, 56] {
            let mut contents = contents.clone();
            contents[place - 4..place].copy_from_slice(&mat.word(u32::MAX));
            let bytes = [mat.header(), mat.variable(&contents), mat.labels(UINT8, &[1, 2])];
            let (found, text) = fault(&bytes.concat());
            assert!(matches!(found, FileFault::Foreign | FileFault::Truncated), "{place}: {text}");
        }
        let mut bytes = mat.svhn(&[1, 2], 0);
        bytes[132..136].copy_from_slice(&mat.word(u32::MAX));
        let (found, text) = fault(&bytes);
        assert!(matches!(found, FileFault::Foreign | FileFault::Truncated), "{text}");
    }
}

#[test]
fn damaged_compression_is_refused() {
    let mat = Mat { compressed: true, ..Mat::default() };
    let whole = mat.svhn(&[3, 2], 0);
    let fingerprint = folder(mat).with(TRAIN, &whole).load(Svhn).unwrap().fingerprint();
    let images = mat.images(2, 0).len();
    // The last position is in the checksum.
    for place in (136..128 + images).step_by(31).chain([128 + images - 1]) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        match folder(mat).with(TRAIN, &bytes).load(Svhn) {
            Ok(dataset) => assert_eq!(dataset.fingerprint(), fingerprint, "at {place}"),
            Err(error) => assert_eq!(error.to_string().lines().count(), 1, "{error}"),
        }
    }
    let mut bytes = whole;
    bytes[128 + images - 1] ^= 0x10;
    assert_eq!(fault(&bytes).0, FileFault::Foreign);
}

#[test]
fn a_compression_bomb_is_unpacked_up_to_the_limit() {
    let plain = Mat::default();
    // A variable that is not read, and that is larger than the limit of a test file.
    let junk = plain.array("junk", CLASS_UINT8, &[90_000_000, 1], UINT8, &vec![0; 90_000_000]);
    let bomb = gzip(&[plain.header(), junk.clone()].concat());
    assert!(bomb.len() < 1_000_000);
    let (found, _) = folder(plain).with(TEST, &bomb).fault(Svhn, TEST);
    assert_eq!(found, FileFault::TooLarge);
    // A compressed variable that is not needed is not unpacked at all.
    let packed = Mat { compressed: true, ..plain };
    let junk = packed.variable(&junk[8..]);
    let bytes = [packed.svhn(&[4, 10], 50), junk].concat();
    assert_eq!(folder(packed).with(TEST, &bytes).load(Svhn).unwrap().test.unwrap().len(), 2);
    // Bytes after the numbers of X are not unpacked either.
    let mut contents =
        packed.array_contents("X", CLASS_UINT8, &[32, 32, 3, 2], UINT8, &column_major(2, 0));
    contents.resize(90_000_000, 0);
    let bytes = [packed.header(), packed.variable(&contents), packed.labels(UINT8, &[1, 2])];
    assert_eq!(fault(&bytes.concat()).0, FileFault::Foreign);
}
