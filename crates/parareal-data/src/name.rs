//! Names of the data sets.

use std::fmt;

/// Declares [`DatasetName`]: a variant for each data set, with its name in settings.
macro_rules! dataset_names {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// The data sets of this crate.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum DatasetName {
            $($(#[$doc])* $variant,)*
        }

        impl DatasetName {
            /// All names, in display order.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// Returns the name in lower case, as written in settings.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

dataset_names! {
    /// Colored shapes drawn by the program: 3x32x32 pixels, ten classes.
    ///
    /// Draws [`TRAINING_IMAGES`](crate::shapes::TRAINING_IMAGES) and
    /// [`TEST_IMAGES`](crate::shapes::TEST_IMAGES) images by default. Limits change these numbers,
    /// up to [`MAX_IMAGES`](crate::shapes::MAX_IMAGES) for each split.
    Shapes = "shapes",
    /// MNIST, handwritten digits: padded to 1x32x32 pixels, ten classes.
    ///
    /// Reads four IDX files from the folder `mnist`: `train-images-idx3-ubyte`,
    /// `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`, or the
    /// same names with a dot instead of the second hyphen. The 28x28 images get a border of two
    /// black pixels.
    Mnist = "mnist",
    /// CIFAR-10, photographs in ten classes: 3x32x32 pixels.
    ///
    /// Reads the binary version from the folder `cifar-10` (or `cifar10`): `data_batch_1.bin` to
    /// `data_batch_5.bin` and `test_batch.bin`, directly in this folder or in its subfolder
    /// `cifar-10-batches-bin`. If none of these files exists, reads the archive
    /// `cifar-10-binary.tar.gz`.
    Cifar10 = "cifar10",
    /// CIFAR-100, photographs in 100 classes: 3x32x32 pixels.
    ///
    /// Reads the binary version from the folder `cifar-100` (or `cifar100`): `train.bin` and
    /// `test.bin`, directly in this folder or in its subfolder `cifar-100-binary`. If none of these
    /// files exists, reads the archive `cifar-100-binary.tar.gz`. Uses the fine labels.
    Cifar100 = "cifar100",
    /// SVHN, digits cut from photographs of house numbers: 3x32x32 pixels, ten classes.
    ///
    /// Reads `train_32x32.mat` and `test_32x32.mat` from the folder `svhn`.
    Svhn = "svhn",
    /// The user's own images, one folder for each class, resized to 3x32x32 pixels.
    ///
    /// Reads the PNG and JPEG files of `DIR/CLASS` for each class, or of `DIR/train/CLASS` and
    /// `DIR/test/CLASS` (or `val`, `valid`, `validation` instead of `test`), where `DIR` is the
    /// data folder itself. Images in subfolders belong to the class as well. Hidden files are
    /// ignored; everything else that is skipped is named in [`notes`](crate::Dataset::notes).
    /// Classes are numbered in the order of their names. Images are resized by
    /// [`Preprocessing::read`](crate::Preprocessing::read) and put in a random order that is always
    /// the same.
    Folder = "folder",
}

impl fmt::Display for DatasetName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}
