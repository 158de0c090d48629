//! Loading CIFAR-10 and CIFAR-100 from small files.

use std::fs;

use parareal_data::DatasetName::{Cifar10, Cifar100};
use parareal_data::{Augmentation, FileFault};

use super::made::{Folder, cifar10, cifar100, gzip, image, tar};

/// Returns the files of a small CIFAR-10: two training images in each file, and three test images.
pub(crate) fn cifar10_files() -> Vec<(String, Vec<u8>)> {
    let batch = |number: usize| {
        let labels = [number as u8, number as u8 + 4];
        (format!("data_batch_{number}.bin"), cifar10(&labels, 2 * number))
    };
    let mut files: Vec<_> = (1..=5).map(batch).collect();
    files.push(("test_batch.bin".to_owned(), cifar10(&[0, 8, 3], 100)));
    files
}

/// Returns the files of a small CIFAR-100: twelve training images and two test images.
pub(crate) fn cifar100_files() -> Vec<(String, Vec<u8>)> {
    let labels: Vec<[u8; 2]> = (0..12).map(|number| [number, 99 - number]).collect();
    vec![
        ("train.bin".to_owned(), cifar100(&labels, 0)),
        ("test.bin".to_owned(), cifar100(&[[19, 7], [0, 0]], 50)),
    ]
}

/// Prepends the name of a folder, as in the archive, to the names of the files.
pub(crate) fn in_folder(folder: &str, files: &[(String, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    files.iter().map(|(name, bytes)| (format!("{folder}/{name}"), bytes.clone())).collect()
}

fn cifar10_folder() -> Folder {
    let folder = Folder::new("cifar-10");
    for (name, bytes) in cifar10_files() {
        folder.write(&name, &bytes);
    }
    folder
}

fn archived(files: &[(String, Vec<u8>)]) -> Folder {
    let archive = gzip(&tar(&in_folder("cifar-10-batches-bin", files)));
    Folder::new("cifar-10").with("cifar-10-binary.tar.gz", &archive)
}

#[test]
fn images_are_in_order_with_their_labels() {
    let dataset = cifar10_folder().load(Cifar10).unwrap();
    let test = dataset.test.as_ref().unwrap();
    assert_eq!(dataset.train.labels(), [1, 5, 2, 6, 3, 7, 4, 8, 5, 9]);
    assert_eq!(test.labels(), [0, 8, 3]);
    for (set, first) in [(&dataset.train, 2), (test, 100)] {
        assert_eq!((set.channels(), set.height(), set.width(), set.classes()), (3, 32, 32, 10));
        assert!((0..set.len()).all(|index| set.image(index).unwrap() == image(first + index)));
    }
    assert_eq!(dataset.augmentation, Augmentation::CropFlip { padding: 4 });
    assert_eq!(dataset.class_names.len(), 10);
    assert_eq!(dataset.class_names[9], "truck");
    assert_eq!(dataset.notes.len(), 1, "{:?}", dataset.notes);
    let numbers = "10 of 50000 training images and 3 of 10000 test images";
    assert!(dataset.notes[0].contains(numbers), "{:?}", dataset.notes);
}

#[test]
fn all_forms_of_the_files_give_the_same_data() {
    let files = cifar10_files();
    let mut shuffled = files.clone();
    shuffled.rotate_left(2);
    let compressed = Folder::new("cifar-10");
    let unpacked = Folder::new("cifar-10");
    let other_name = Folder::new("cifar10");
    fs::create_dir(unpacked.file("cifar-10-batches-bin")).unwrap();
    for (index, (name, bytes)) in files.iter().enumerate() {
        let ending = if index < 4 { ".gz" } else { "" };
        let bytes = if index < 5 { gzip(bytes) } else { bytes.clone() };
        compressed.write(&format!("{name}{ending}"), &bytes);
        unpacked.write(&format!("cifar-10-batches-bin/{name}"), &bytes);
        other_name.write(name, &bytes);
    }
    let tree = in_folder("./cifar-10-batches-bin", &files);
    let uncompressed = Folder::new("cifar-10").with("cifar-10-binary.tar", &tar(&tree));
    let expected = cifar10_folder().load(Cifar10).unwrap().fingerprint();
    for (form, folder) in [
        ("compressed", compressed),
        ("unpacked", unpacked),
        ("other name", other_name),
        ("archived", archived(&files)),
        ("archived in another order", archived(&shuffled)),
        ("archived without compression", uncompressed),
    ] {
        assert_eq!(folder.load(Cifar10).unwrap().fingerprint(), expected, "{form}");
    }
    let damaged = cifar10_folder().with("cifar-10-binary.tar.gz", b"nonsense");
    assert_eq!(damaged.load(Cifar10).unwrap().fingerprint(), expected);
}

#[test]
fn fine_labels_are_the_classes_of_cifar_100() {
    let files = cifar100_files();
    let loose = Folder::new("cifar-100").with("train.bin", &files[0].1);
    loose.write("test.bin.gz", &gzip(&files[1].1));
    let archive = gzip(&tar(&in_folder("cifar-100-binary", &files)));
    let archived = Folder::new("cifar100").with("cifar-100-binary.tar.gz", &archive);
    for folder in [loose, archived] {
        let dataset = folder.load(Cifar100).unwrap();
        let test = dataset.test.as_ref().unwrap();
        assert!(dataset.train.labels().iter().copied().eq((88..=99).rev()));
        assert_eq!(test.labels(), [7, 0]);
        assert_eq!((test.classes(), &test.image(1).unwrap()[..]), (100, &image(51)[..]));
        assert_eq!(dataset.class_names.len(), 100);
        assert_eq!(dataset.class_names[42], "42");
        assert_eq!(dataset.augmentation, Augmentation::CropFlip { padding: 4 });
    }
}

#[test]
fn class_names_are_read_if_present() {
    let text: String = (0..10).map(|class| format!("thing {class}\n")).collect();
    let loose = cifar10_folder().with("batches.meta.txt", text.as_bytes());
    let mut files = cifar10_files();
    files.push(("batches.meta.txt".to_owned(), format!("{text}\n").into_bytes()));
    files.push(("readme.html".to_owned(), b"<html>".to_vec()));
    for folder in [&loose, &archived(&files)] {
        let names = folder.load(Cifar10).unwrap().class_names;
        assert!(names.iter().enumerate().all(|(class, name)| *name == format!("thing {class}")));
        assert_eq!(names.len(), 10);
    }
    loose.write("batches.meta.txt", b"cat\ndog\n");
    assert_eq!(loose.fault(Cifar10, "batches.meta.txt").0, FileFault::Count);
    let folder = Folder::new("cifar-100").with("train.bin", &cifar100_files()[0].1);
    let text: String = (0..100).map(|class| format!("thing_{class}\n")).collect();
    folder.write("fine_label_names.txt", text.as_bytes());
    assert_eq!(folder.load(Cifar100).unwrap().class_names[99], "thing_99");
}

#[test]
fn limits_take_the_first_images() {
    for folder in [cifar10_folder(), archived(&cifar10_files())] {
        let dataset = folder.load_some(Cifar10, Some(3), Some(1)).unwrap();
        assert_eq!(dataset.train.labels(), [1, 5, 2]);
        assert_eq!(dataset.test.unwrap().labels(), [0]);
        let dataset = folder.load_some(Cifar10, Some(99), Some(0)).unwrap();
        assert_eq!((dataset.train.len(), dataset.test), (10, None));
        assert!(dataset.notes[0].contains("10 of 50000 training images)"), "{:?}", dataset.notes);
    }
}

#[test]
fn test_images_are_held_out_if_there_are_none() {
    let mut files = cifar10_files();
    files.pop();
    for folder in [cifar10_folder().without("test_batch.bin"), archived(&files)] {
        let dataset = folder.load(Cifar10).unwrap();
        let test = dataset.test.as_ref().unwrap();
        assert_eq!((dataset.train.len(), test.len()), (9, 1));
        let mut labels = [dataset.train.labels(), test.labels()].concat();
        labels.sort_unstable();
        assert_eq!(labels, [1, 2, 3, 4, 5, 5, 6, 7, 8, 9]);
        assert_eq!(dataset.notes.len(), 2, "{:?}", dataset.notes);
        assert!(dataset.notes[1].contains("1 of the 10 training images"), "{:?}", dataset.notes);
        assert_eq!(folder.load(Cifar10).unwrap().fingerprint(), dataset.fingerprint());
        let without = folder.load_some(Cifar10, None, Some(0)).unwrap();
        assert_eq!((without.train, without.test), (dataset.train, None));
    }
}

#[test]
fn missing_files_are_named_with_the_accepted_forms() {
    let (fault, text) = Folder::new("cifar-10").fault(Cifar10, "cifar-10/data_batch_1.bin");
    assert_eq!(fault, FileFault::Missing);
    for part in ["data_batch_5.bin", "test_batch.bin", ".gz", "cifar-10-binary.tar.gz", "kriz"] {
        assert!(text.contains(part), "{text}");
    }
    let (fault, _) = Folder::new("cifar-100").fault(Cifar100, "cifar-100/train.bin");
    assert_eq!(fault, FileFault::Missing);
    let folder = cifar10_folder().without("data_batch_3.bin");
    assert_eq!(folder.fault(Cifar10, "data_batch_3.bin").0, FileFault::Missing);
    let mut files = cifar10_files();
    files.remove(2);
    let (fault, text) = archived(&files).fault(Cifar10, "cifar-10-binary.tar.gz");
    assert_eq!(fault, FileFault::Missing);
    assert!(text.contains("data_batch_3.bin"), "{text}");
}

#[test]
fn faulty_files_are_refused_by_name() {
    let whole = cifar10(&[1, 2], 0);
    for (bytes, expected) in [
        (whole[..whole.len() - 1].to_vec(), FileFault::Truncated),
        (whole[..3074].to_vec(), FileFault::Truncated),
        ([&whole[..], &[0]].concat(), FileFault::Truncated),
        (Vec::new(), FileFault::Truncated),
        (cifar10(&[1, 10], 0), FileFault::Label),
        (vec![0; 10_000 * 3_073 + 1], FileFault::Trailing),
        (vec![0; 10_001 * 3_073], FileFault::TooLarge),
        (vec![0; 40_000_000], FileFault::TooLarge),
    ] {
        for (name, bytes) in
            [("data_batch_4.bin", bytes.clone()), ("data_batch_4.bin.gz", gzip(&bytes))]
        {
            let folder = cifar10_folder().without("data_batch_4.bin").with(name, &bytes);
            assert_eq!(folder.fault(Cifar10, name).0, expected, "{name}");
        }
        let mut files = cifar10_files();
        files[3].1 = bytes;
        // The whole archive has a limit as well.
        let (fault, _) = archived(&files).fault(Cifar10, "data_batch_4.bin");
        assert_eq!(fault, expected, "in an archive");
    }
    let compressed = gzip(&whole);
    let cut = cifar10_folder().with("test_batch.bin", &compressed[..compressed.len() - 3]);
    assert_eq!(cut.fault(Cifar10, "test_batch.bin").0, FileFault::Truncated);
    let mut damaged = compressed;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    let damaged = cifar10_folder().with("test_batch.bin", &damaged);
    damaged.fault(Cifar10, "test_batch.bin");
    let coarse = Folder::new("cifar-100").with("train.bin", &cifar100(&[[0, 0], [20, 0]], 0));
    let (fault, text) = coarse.fault(Cifar100, "train.bin");
    assert_eq!(fault, FileFault::Label);
    assert!(text.contains("coarse label 20 in record 1"), "{text}");
}

#[test]
fn faulty_archives_are_refused_by_name() {
    let mut files = cifar10_files();
    files.push(files[0].clone());
    let (fault, text) = archived(&files).fault(Cifar10, "cifar-10-binary.tar.gz");
    assert_eq!(fault, FileFault::Foreign);
    assert!(text.contains("data_batch_1.bin") && text.contains("twice"), "{text}");

    let mut archive = tar(&in_folder("cifar-10-batches-bin", &cifar10_files()));
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..9].copy_from_slice(b"../escape");
    header.set_size(0);
    header.set_cksum();
    archive.splice(0..0, header.as_bytes().iter().copied());
    let folder = Folder::new("cifar-10").with("cifar-10-binary.tar.gz", &gzip(&archive));
    assert_eq!(folder.fault(Cifar10, "cifar-10-binary.tar.gz").0, FileFault::Escape);
}
