//! Almost valid files: a reader accepts or rejects any change to a file, and does not panic.

use parareal_data::DatasetName::{self, Cifar10, Cifar100, Mnist, Svhn};
use parareal_data::inspect;

use super::made::{CLASS_UINT8, Folder, Mat, UINT8, column_major, gzip, tar};
use super::{cifar, svhn};

/// Random numbers from a fixed seed (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Returns a position in `len` bytes, usually near the start or the end, where headers and
    /// trailers are.
    fn place(&mut self, len: usize) -> usize {
        let near = len.min(300);
        match self.below(4) {
            0 => self.below(len),
            1 => len - 1 - self.below(near),
            _ => self.below(near),
        }
    }

    /// Changes `bytes` in one to four places.
    fn mutated(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            if bytes.is_empty() {
                return bytes;
            }
            let place = self.place(bytes.len());
            match self.below(8) {
                0 | 1 => bytes[place] ^= 1 << self.below(8),
                2 => bytes[place] = self.next() as u8,
                3 => {
                    let words = [0, 1, 4, 14, 0xff, 1 << 31, u32::MAX, u32::MAX >> 1];
                    let word = words[self.below(words.len())];
                    let word = [word.to_le_bytes(), word.to_be_bytes()][self.below(2)];
                    let start = place / 4 * 4;
                    bytes.iter_mut().skip(start).zip(word).for_each(|(byte, new)| *byte = new);
                }
                4 => bytes.truncate(place),
                5 => bytes.insert(place, self.next() as u8),
                6 => {
                    let end = bytes.len().min(place + 1 + self.below(16));
                    bytes.drain(place..end);
                }
                _ => {
                    let end = bytes.len().min(place + 1 + self.below(1024));
                    let copy = bytes[place..end].to_vec();
                    let target = self.place(bytes.len());
                    bytes.splice(target..target, copy);
                }
            }
        }
        bytes
    }
}

/// Loads a set many times, each time with a different mutation of one file that `finish` completes.
fn survive(
    folder: &Folder,
    name: DatasetName,
    file: &str,
    count: usize,
    bytes: &[u8],
    finish: impl Fn(Vec<u8>) -> Vec<u8>,
) {
    folder.write(file, &finish(bytes.to_vec()));
    assert!(folder.load(name).is_ok(), "the unchanged {file} must be valid");
    let mut random = Random(count as u64);
    let mut refused = 0;
    for round in 0..count {
        folder.write(file, &finish(random.mutated(bytes)));
        match folder.load(name) {
            Ok(dataset) => {
                let classes = dataset.train.classes();
                assert!(dataset.train.labels().iter().all(|&label| usize::from(label) < classes));
            }
            Err(error) => {
                refused += 1;
                assert_eq!(error.to_string().lines().count(), 1, "{file}, {round}: {error}");
            }
        }
    }
    assert!(refused > count / 10, "only {refused} of {count} mutations of {file} were refused");
    // An inspection reads files in the same way, so it is tested with the last mutation only.
    let _ = inspect(name, Some(folder.data_dir())).map_err(|error| error.to_string());
}

#[test]
fn mutated_idx_files_are_refused_or_read() {
    let folder = Folder::new("mnist");
    let images = |count: u8| {
        let header = [0, 0, 8, 3, 0, 0, 0, count, 0, 0, 0, 28, 0, 0, 0, 28];
        [&header[..], &vec![9; 784 * usize::from(count)]].concat()
    };
    let labels = |labels: &[u8]| [&[0, 0, 8, 1, 0, 0, 0, labels.len() as u8], labels].concat();
    folder.write("train-images-idx3-ubyte", &images(2));
    folder.write("train-labels-idx1-ubyte", &labels(&[1, 2]));
    folder.write("t10k-images-idx3-ubyte", &images(1));
    folder.write("t10k-labels-idx1-ubyte", &labels(&[3]));
    survive(&folder, Mnist, "train-images-idx3-ubyte", 400, &images(2), |bytes| bytes);
    folder.write("train-images-idx3-ubyte", &images(2));
    survive(&folder, Mnist, "train-labels-idx1-ubyte", 400, &labels(&[1, 2]), |bytes| bytes);
    folder.write("train-labels-idx1-ubyte", &labels(&[1, 2]));
    survive(&folder, Mnist, "t10k-labels-idx1-ubyte", 400, &gzip(&labels(&[3])), |bytes| bytes);
}

#[test]
fn mutated_records_are_refused_or_read() {
    let files = cifar::cifar100_files();
    let folder = Folder::new("cifar-100");
    for (name, bytes) in &files {
        folder.write(name, bytes);
    }
    folder.write("fine_label_names.txt", &b"name\n".repeat(100));
    survive(&folder, Cifar100, "train.bin", 400, &files[0].1, |bytes| bytes);
    folder.write("train.bin", &files[0].1);
    survive(&folder, Cifar100, "test.bin", 400, &gzip(&files[1].1), |bytes| bytes);
    folder.write("test.bin", &files[1].1);
    let names = b"name\n".repeat(100);
    survive(&folder, Cifar100, "fine_label_names.txt", 400, &names, |bytes| bytes);
}

#[test]
fn mutated_archives_are_refused_or_read() {
    let archive = tar(&cifar::in_folder("cifar-10-batches-bin", &cifar::cifar10_files()));
    let folder = Folder::new("cifar-10");
    survive(&folder, Cifar10, "cifar-10-binary.tar.gz", 800, &archive, |bytes| bytes);
    survive(&folder, Cifar10, "cifar-10-binary.tar.gz", 400, &gzip(&archive), |bytes| bytes);
    // With corrected checksums, changed headers are read.
    let with_sums = |mut bytes: Vec<u8>| {
        for start in (0..bytes.len() / 512 * 512).step_by(512) {
            let block = &mut bytes[start..][..512];
            if block[257..262] == *b"ustar" {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        bytes
    };
    survive(&folder, Cifar10, "cifar-10-binary.tar.gz", 801, &archive, with_sums);
}

#[test]
fn mutated_matlab_files_are_refused_or_read() {
    for mat in Mat::all() {
        let folder = svhn::folder(mat);
        let file = "train_32x32.mat";
        survive(&folder, Svhn, file, 600, &mat.svhn(&[1, 10], 0), |bytes| bytes);
        // Faults inside an otherwise complete variable.
        let contents =
            mat.array_contents("X", CLASS_UINT8, &[32, 32, 3, 2], UINT8, &column_major(2, 0));
        let whole = |contents: Vec<u8>| {
            [mat.header(), mat.variable(&contents), mat.labels(UINT8, &[1, 10])].concat()
        };
        survive(&folder, Svhn, file, 601, &contents, whole);
    }
}
