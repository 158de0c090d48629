//! Inspection of files.

use parareal_data::{Checksum, DataError, Dataset, DatasetName, FileFault, inspect};

use super::made::{Folder, Mat, gzip, tar};
use super::{cifar, svhn};

#[test]
fn files_and_classes_are_counted() {
    let folder = svhn::folder(Mat::default());
    let inspection = inspect(DatasetName::Svhn, Some(folder.data_dir())).unwrap();
    assert_eq!(inspection.name, DatasetName::Svhn);
    assert_eq!(inspection.train.images, 3);
    assert_eq!(inspection.train.per_class, [1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    let test = inspection.test.unwrap();
    assert_eq!((test.images, &test.per_class[..5]), (2, &[1, 0, 0, 0, 1][..]));
    assert_eq!(inspection.class_names.len(), 10);
    assert_eq!(inspection.notes.len(), 1);
    let names = ["train_32x32.mat", "test_32x32.mat"];
    assert_eq!(inspection.files.len(), names.len());
    for (file, name) in inspection.files.iter().zip(names) {
        assert_eq!(file.path, folder.file(name));
        assert_eq!(file.bytes, std::fs::metadata(&file.path).unwrap().len());
        let checksum = file.checksum.as_ref().unwrap();
        assert!(!checksum.matches() && checksum.found.len() == 32, "{checksum:?}");
    }
    let dataset = folder.load(DatasetName::Svhn).unwrap();
    assert_eq!(inspection.fingerprint, dataset.fingerprint());
}

#[test]
fn archives_have_a_checksum_and_loose_files_have_none() {
    let files = cifar::cifar10_files();
    let archive = gzip(&tar(&cifar::in_folder("cifar-10-batches-bin", &files)));
    let archived = Folder::new("cifar-10").with("cifar-10-binary.tar.gz", &archive);
    let inspection = inspect(DatasetName::Cifar10, Some(archived.data_dir())).unwrap();
    assert_eq!(inspection.files.len(), 1);
    let Checksum { published, .. } = inspection.files[0].checksum.as_ref().unwrap();
    assert_eq!(*published, "c32a1d4ab5d03f1284b67883e8d87530");

    let loose = Folder::new("cifar-100");
    for (name, bytes) in cifar::cifar100_files() {
        loose.write(&name, &bytes);
    }
    loose.write("fine_label_names.txt", &b"name\n".repeat(100));
    let inspection = inspect(DatasetName::Cifar100, Some(loose.data_dir())).unwrap();
    let names: Vec<_> =
        inspection.files.iter().map(|file| file.path.file_name().unwrap()).collect();
    assert_eq!(names, ["train.bin", "test.bin", "fine_label_names.txt"]);
    assert!(inspection.files.iter().all(|file| file.checksum.is_none()));
    assert_eq!(inspection.train.per_class[99], 1);
}

#[test]
fn built_in_sets_have_no_files_and_others_need_a_folder() {
    let inspection = inspect(DatasetName::Shapes, None).unwrap();
    assert!(inspection.files.is_empty() && inspection.notes.is_empty());
    assert_eq!(inspection.train.per_class, [600; 10]);
    assert_eq!(inspection.class_names[0], "disc");
    let error = inspect(DatasetName::Cifar10, None).unwrap_err();
    assert!(matches!(error, DataError::NoDataDir { .. }), "{error}");
    let folder = Folder::new("mnist");
    let error = inspect(DatasetName::Mnist, Some(folder.data_dir())).unwrap_err();
    assert_eq!(error.file().unwrap().fault, FileFault::Missing);
}

#[test]
fn every_set_names_its_classes() {
    let shapes = Dataset::load(DatasetName::Shapes, &Default::default()).unwrap();
    assert_eq!(shapes.class_names.len(), shapes.train.classes());
    assert_eq!(shapes.augmentation, Default::default());
}
