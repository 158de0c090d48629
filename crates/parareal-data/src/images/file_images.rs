//! Images in the user's files, decoded whenever they are needed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::DataError;
use crate::formats::header;
use crate::formats::image::read;
use crate::formats::size_limit::SizeLimit;
use crate::images::crop::Crop;
use crate::images::decoders::in_parallel;
use crate::images::preprocessing::center_crop;
use crate::images::resample::{PixelLayout, Pixels, resample};
use crate::progress::{LoadProgress, LoadStage};

/// Number of files between two reports of progress.
const REPORTED: usize = 1024;

/// Some of the images of an index, in a certain order. They have three channels and `size` x `size` pixels.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct FileImages {
    index: Arc<FileIndex>,
    /// Positions in the index.
    chosen: Vec<u32>,
    size: usize,
}

/// Paths of image files and their lengths.
///
/// A name takes its bytes and the end of it: a file of ImageNet about 40 bytes in all.
#[derive(Default, PartialEq, Eq)]
struct FileIndex {
    /// Folder to which `folders` are relative.
    root: PathBuf,
    folders: Vec<PathBuf>,
    /// The names of all files, one after the other. Those that are not valid Unicode are empty here.
    names: String,
    /// Ends of the names in `names`.
    ends: Vec<usize>,
    /// Positions of the folders of the files.
    places: Vec<u32>,
    /// Lengths of the files in bytes.
    bytes: Vec<u32>,
    /// Names that are not valid Unicode, by the position of the file.
    others: BTreeMap<usize, OsString>,
}

impl FileIndex {
    /// Adds a file below `root`.
    fn add(&mut self, path: &Path) {
        let folder = path.parent().unwrap_or(path);
        let folder = folder.strip_prefix(&self.root).unwrap_or(folder);
        // The files of a folder follow each other.
        if self.folders.last().is_none_or(|last| last != folder) {
            self.folders.push(folder.to_path_buf());
        }
        let name = path.file_name().unwrap_or_default();
        match name.to_str() {
            Some(name) => self.names.push_str(name),
            None => drop(self.others.insert(self.ends.len(), name.to_owned())),
        }
        self.ends.push(self.names.len());
        self.places.push(self.folders.len() as u32 - 1);
    }

    fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the path of a file below `root`.
    fn relative(&self, file: usize) -> PathBuf {
        let folder = &self.folders[self.places[file] as usize];
        if let Some(name) = self.others.get(&file) {
            return folder.join(name);
        }
        let begin = file.checked_sub(1).map_or(0, |before| self.ends[before]);
        folder.join(&self.names[begin..self.ends[file]])
    }

    fn path(&self, file: usize) -> PathBuf {
        self.root.join(self.relative(file))
    }
}

impl FileImages {
    /// Reads the headers of files below `root`, and keeps their paths. The images have the order of `files`.
    ///
    /// # Errors
    ///
    /// [`DataError::Image`] for the first file that cannot be read, is no PNG or JPEG file or is too large, and
    /// [`DataError::Folder`] for more than 2^32 files.
    pub(crate) fn new(
        root: &Path,
        files: impl Iterator<Item = PathBuf>,
        size: usize,
        progress: &dyn Fn(LoadProgress),
    ) -> Result<Self, DataError> {
        let mut index = FileIndex { root: root.to_path_buf(), ..FileIndex::default() };
        files.for_each(|path| index.add(&path));
        let total = index.len();
        if u32::try_from(total).is_err() {
            let message = format!("expected at most {} image files, found {total}", u32::MAX);
            return Err(DataError::Folder { path: root.to_path_buf(), message });
        }
        for begin in (0..total).step_by(REPORTED) {
            let count = REPORTED.min(total - begin);
            let bytes = in_parallel(count, |file| {
                let path = index.path(begin + file);
                let limit = SizeLimit::FILES;
                let read = header::read(&path, limit);
                // The limit fits 32 bits.
                read.map(|bytes| bytes as u32).map_err(|message| DataError::Image { path, message })
            })?;
            index.bytes.extend(bytes);
            progress(LoadProgress { stage: LoadStage::Index, done: begin + count, total });
        }
        Ok(Self { index: Arc::new(index), chosen: (0..total as u32).collect(), size })
    }

    /// Height and width of the images.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Returns the images at these positions.
    pub(crate) fn subset(&self, positions: impl Iterator<Item = usize>) -> Self {
        let chosen = positions.map(|position| self.chosen[position]).collect();
        Self { index: Arc::clone(&self.index), chosen, size: self.size }
    }

    /// Keeps the first `limit` images.
    pub(crate) fn truncate(&mut self, limit: usize) {
        self.chosen.truncate(limit);
    }

    /// Reads an image, resized and cropped in the center.
    pub(crate) fn image(&self, position: usize) -> Result<Vec<u8>, DataError> {
        self.decoded(position, |image| center_crop(image, self.size))
    }

    /// Reads a part of an image, which `crop` chooses from its height and width, resized to the size of the set.
    pub(crate) fn crop(
        &self,
        position: usize,
        crop: impl FnOnce([usize; 2]) -> Crop,
    ) -> Result<Vec<u8>, DataError> {
        self.decoded(position, |image| {
            let [rows, columns] = crop([image.height, image.width]).spans([self.size; 2]);
            resample(image, &rows, &columns)
        })
    }

    fn decoded<T>(
        &self,
        position: usize,
        convert: impl FnOnce(Pixels<'_>) -> T,
    ) -> Result<T, DataError> {
        let path = self.index.path(self.chosen[position] as usize);
        let image = read(&path, SizeLimit::FILES)
            .map_err(|message| DataError::Image { path, message })?
            .into_rgb8();
        let [height, width] = [image.height(), image.width()].map(|side| side as usize);
        let layout = PixelLayout::ChannelsLast;
        Ok(convert(Pixels { values: image.as_raw(), channels: 3, height, width, layout }))
    }

    /// Passes the path below the root, with `/` between names, and the length of each file to `describe`.
    pub(crate) fn describe(&self, mut describe: impl FnMut(&[u8], u64)) {
        let mut name = Vec::new();
        for &file in &self.chosen {
            name.clear();
            for part in &self.index.relative(file as usize) {
                if !name.is_empty() {
                    name.push(b'/');
                }
                name.extend(part.as_encoded_bytes());
            }
            describe(&name, u64::from(self.index.bytes[file as usize]));
        }
    }
}

/// Decodes all images of sets, to find damaged files.
pub(crate) fn check(
    sets: &[&FileImages],
    progress: &dyn Fn(LoadProgress),
) -> Result<(), DataError> {
    let total: usize = sets.iter().map(|set| set.chosen.len()).sum();
    let mut done = 0;
    for set in sets {
        for begin in (0..set.chosen.len()).step_by(REPORTED) {
            let count = REPORTED.min(set.chosen.len() - begin);
            in_parallel(count, |image| set.decoded(begin + image, |_| ()))?;
            done += count;
            progress(LoadProgress { stage: LoadStage::Decode, done, total });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_returns_the_paths_that_it_was_given() {
        let root = Path::new("/data/train");
        let mut index = FileIndex { root: root.to_path_buf(), ..FileIndex::default() };
        let mut paths: Vec<PathBuf> =
            ["a/1.png", "a/b/2.png", "a/3.png", "ü/é.jpg"].map(|name| root.join(name)).into();
        #[cfg(unix)]
        {
            use std::os::unix::ffi::OsStrExt;
            let other = std::ffi::OsStr::from_bytes(b"\xff.png");
            paths.extend([root.join("ü").join(other), root.join("z/4.png")]);
        }
        paths.iter().for_each(|path| index.add(path));
        assert_eq!(index.len(), paths.len());
        assert!((0..paths.len()).all(|file| index.path(file) == paths[file]));
    }
}
