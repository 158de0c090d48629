//! Folders of image files: which of them are classes, which are splits, and which are skipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use parareal_text::one_line;

use crate::error::DataError;

/// Names of folders of test images, the preferred one first.
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];
/// Folders that operating systems and storage devices create for their own use.
const INDEXES: [&str; 2] = ["@eaDir", "__MACOSX"];
/// Maximum depth of folders below a class folder.
const MAX_DEPTH: usize = 16;
/// Maximum number of names in a note.
const MAX_NAMES: usize = 3;

/// The image files of each class, by folder name.
pub(crate) type ImageFiles = BTreeMap<String, Vec<PathBuf>>;

/// Folders of the training and test images.
pub(crate) struct ImageTree {
    /// The folder with a class folder for each class.
    pub(crate) training: PathBuf,
    /// The folder of test images, with class folders.
    pub(crate) test: Option<PathBuf>,
    /// Folders of images that are skipped, because they belong to neither split.
    beside: Vec<PathBuf>,
}

impl ImageTree {
    /// Looks for `train` and for folders of test images in `root`.
    ///
    /// A folder `train` that contains class folders is the training split, unless all of these are
    /// true:
    ///
    /// * there are other folders of images next to it,
    /// * it also contains images directly,
    /// * there is no folder of test images whose class folders all have names of class folders in
    ///   `train`.
    ///
    /// Without a training split, the folders in `root` are the classes. A folder of test images is
    /// then the test split if it contains no images directly and its class folders have names of
    /// these classes.
    pub(crate) fn of(root: &Path) -> Result<Self, DataError> {
        let listing = Listing::read(root)?;
        let mut train = None;
        let mut tests: [Option<Candidate>; TEST.len()] = [const { None }; TEST.len()];
        let mut others = Vec::new();
        for (name, path) in listing.folders {
            let place = match TEST.iter().position(|test| name.eq_ignore_ascii_case(test)) {
                None if name.eq_ignore_ascii_case("train") => Some(&mut train),
                None => None,
                Some(index) => Some(&mut tests[index]),
            };
            match place {
                Some(place) if place.is_none() => *place = Some(Candidate::read(name, path)?),
                _ if has_images(&path)? => others.push((name, path)),
                _ => {}
            }
        }
        let tests: Vec<Candidate> = tests.into_iter().flatten().collect();
        let train = train.filter(Candidate::has_images);
        let mut names: BTreeSet<String> = others.iter().map(|(name, _)| name.clone()).collect();
        if let Some(train) = train {
            let is_tested = || tests.iter().any(|test| test.is_split_of(&train.classes));
            if !train.classes.is_empty() && (others.is_empty() || !train.has_loose || is_tested()) {
                let mut tests = tests.into_iter();
                let test = tests.next().map(|test| test.path);
                let further = tests.filter(Candidate::has_images).map(|test| test.path);
                let beside = others.into_iter().map(|(_, path)| path).chain(further).collect();
                return Ok(Self { training: train.path, test, beside });
            }
            if others.is_empty() && tests.iter().any(Candidate::has_images) {
                let train = train.name;
                let message = format!(
                    "{train} has images but no class folders; sort the images of {train} into a \
                     folder for each class"
                );
                return Err(DataError::Folder { path: root.to_path_buf(), message });
            }
            names.insert(train.name);
        }
        // A folder that contains images directly is a class, even if it is named like a test
        // folder.
        names.extend(tests.iter().filter(|test| test.has_loose).map(|test| test.name.clone()));
        let mut splits = tests
            .into_iter()
            .filter(|test| !test.has_loose && test.is_split_of(&names))
            .map(|test| test.path);
        let test = splits.next();
        Ok(Self { training: root.to_path_buf(), test, beside: splits.collect() })
    }

    /// Looks for the images in `root` on which a network is to be evaluated.
    ///
    /// The split of test images is preferred. Unlike for training, it does not need training images next
    /// to it.
    pub(crate) fn to_evaluate(root: &Path) -> Result<Self, DataError> {
        let tree = Self::of(root)?;
        if tree.test.is_some() || tree.training != root {
            return Ok(tree);
        }
        let folders = Listing::read(root)?.folders.into_iter();
        let found = folders.map(|(name, path)| Candidate::read(name, path));
        let mut found: Vec<Candidate> = found.collect::<Result<_, _>>()?;
        found.retain(Candidate::has_images);
        let is_split = |folder: &Candidate| {
            !folder.has_loose && TEST.iter().any(|test| folder.name.eq_ignore_ascii_case(test))
        };
        let test = match found.as_slice() {
            [only] if is_split(only) => Some(only.path.clone()),
            _ => None,
        };
        Ok(Self { test, ..tree })
    }

    /// Returns the classes of the training images.
    pub(crate) fn training_classes(&self, left_out: &mut LeftOut) -> Result<ImageFiles, DataError> {
        for folder in &self.beside {
            left_out
                .beside
                .push((folder.clone(), images_below(folder, &mut LeftOut::default())?.len()));
        }
        let splits: Vec<&Path> = self.test.iter().chain(&self.beside).map(|path| &**path).collect();
        classes(&self.training, &splits, left_out)
    }

    /// Returns the classes of the test images in the folder `test`.
    ///
    /// # Errors
    ///
    /// [`DataError::Folder`] if there are no classes.
    pub(crate) fn test_classes(
        test: &Path,
        left_out: &mut LeftOut,
    ) -> Result<ImageFiles, DataError> {
        let classes = classes(test, &[], left_out)?;
        if classes.is_empty() {
            let loose = Listing::read(test)?.images.len();
            let found = match loose {
                0 => "it has no PNG or JPEG files".to_string(),
                loose => {
                    format!("it has {loose} PNG or JPEG files, none of them in a class folder")
                }
            };
            let message = format!(
                "{found}; sort the test images into a folder for each class, or remove this folder"
            );
            return Err(DataError::Folder { path: test.to_path_buf(), message });
        }
        Ok(classes)
    }
}

/// A folder that may be a split or a class.
struct Candidate {
    name: String,
    path: PathBuf,
    /// Names of the class folders in it.
    classes: BTreeSet<String>,
    /// True if it contains images directly.
    has_loose: bool,
}

impl Candidate {
    fn read(name: String, path: PathBuf) -> Result<Self, DataError> {
        let classes = classes(&path, &[], &mut LeftOut::default())?.into_keys().collect();
        let has_loose = !Listing::read(&path)?.images.is_empty();
        Ok(Self { name, path, classes, has_loose })
    }

    fn has_images(&self) -> bool {
        self.has_loose || !self.classes.is_empty()
    }

    /// Returns true if it has class folders and all their names are among `classes`.
    fn is_split_of(&self, classes: &BTreeSet<String>) -> bool {
        !self.classes.is_empty() && self.classes.is_subset(classes)
    }
}

/// Files and folders that are skipped.
#[derive(Default)]
pub(crate) struct LeftOut {
    foreign: Vec<PathBuf>,
    loose: Vec<PathBuf>,
    indexes: Vec<PathBuf>,
    unreached: Vec<PathBuf>,
    /// Other folders of images, with the number of their images.
    beside: Vec<(PathBuf, usize)>,
}

impl LeftOut {
    /// Returns a note for each kind of skipped files or folders, with their number and the first
    /// few names.
    pub(crate) fn notes(&self, root: &Path) -> Vec<String> {
        let name = |path: &PathBuf| {
            one_line(&path.strip_prefix(root).unwrap_or(path).display().to_string())
        };
        let note = |thing: &str, what: &str, names: Vec<String>| {
            let more = match names.len().saturating_sub(MAX_NAMES) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let listed = names.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", ");
            let (count, s) = (names.len(), if names.len() == 1 { "" } else { "s" });
            (count > 0).then(|| format!("skipped {count} {thing}{s} {what}: {listed}{more}"))
        };
        let beside = self.beside.iter().map(|(path, images)| {
            let s = if *images == 1 { "" } else { "s" };
            format!("{} ({images} image{s})", name(path))
        });
        let names = |paths: &[PathBuf]| paths.iter().map(name).collect();
        [
            note("file", "not named .png, .jpg or .jpeg", names(&self.foreign)),
            note("image", "outside the class folders", names(&self.loose)),
            note("folder", "created by the system or named like an image", names(&self.indexes)),
            note("folder", "linked in a loop or too deep", names(&self.unreached)),
            note("folder", "of images next to the training and test images", beside.collect()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The entries of a folder except hidden ones, each kind sorted by name.
#[derive(Default)]
struct Listing {
    folders: Vec<(String, PathBuf)>,
    images: Vec<PathBuf>,
    foreign: Vec<PathBuf>,
    indexes: Vec<PathBuf>,
}

impl Listing {
    fn read(folder: &Path) -> Result<Self, DataError> {
        let wrong = |error: std::io::Error| DataError::Folder {
            path: folder.to_path_buf(),
            message: format!("cannot read the folder: {error}"),
        };
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(wrong)? {
            let entry = entry.map_err(wrong)?;
            let path = entry.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with('.') {
                // Most systems list the kinds of files with their names; links are followed.
                let kind = entry.file_type().ok().filter(|kind| kind.is_file() || kind.is_dir());
                let kind = kind.or_else(|| Some(fs::metadata(&path).ok()?.file_type()));
                entries.push((name.escape_debug().to_string(), path, kind));
            }
        }
        entries.sort_by(|(a, path, _), (b, other, _)| (a, path).cmp(&(b, other)));
        let mut listing = Self::default();
        for (name, path, kind) in entries {
            match kind {
                Some(found) if found.is_dir() => {
                    match is_called_image(&path) || INDEXES.contains(&name.as_str()) {
                        true => listing.indexes.push(path),
                        false => listing.folders.push((name, path)),
                    }
                }
                Some(found) if !found.is_file() => listing.foreign.push(path),
                // Unreadable files are reported when they are decoded.
                _ if is_called_image(&path) => listing.images.push(path),
                _ => listing.foreign.push(path),
            }
        }
        Ok(listing)
    }
}

fn is_called_image(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default();
    ["png", "jpg", "jpeg"].iter().any(|known| ending.eq_ignore_ascii_case(known))
}

/// Returns the folders in `folder` that contain images at any depth, other than those in `except`.
fn classes(
    folder: &Path,
    except: &[&Path],
    left_out: &mut LeftOut,
) -> Result<ImageFiles, DataError> {
    let listing = Listing::read(folder)?;
    left_out.loose.extend(listing.images);
    left_out.foreign.extend(listing.foreign);
    left_out.indexes.extend(listing.indexes);
    let mut classes = ImageFiles::new();
    for (name, path) in listing.folders {
        if !except.contains(&&*path) {
            let images = images_below(&path, left_out)?;
            if !images.is_empty() {
                classes.insert(name, images);
            }
        }
    }
    Ok(classes)
}

fn has_images(folder: &Path) -> Result<bool, DataError> {
    Ok(!images_below(folder, &mut LeftOut::default())?.is_empty())
}

/// Returns the images of a folder, followed by those of its subfolders.
fn images_below(folder: &Path, left_out: &mut LeftOut) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    // Links to the parent of `folder` are loops as well.
    let mut above: Vec<PathBuf> = folder.parent().map(without_links).into_iter().collect();
    add_images(folder, MAX_DEPTH, &mut above, left_out, &mut images)?;
    Ok(images)
}

/// Adds the images of a folder and of its subfolders, up to a depth of `deeper`. `above` holds the
/// enclosing folders, with links resolved.
fn add_images(
    folder: &Path,
    deeper: usize,
    above: &mut Vec<PathBuf>,
    left_out: &mut LeftOut,
    images: &mut Vec<PathBuf>,
) -> Result<(), DataError> {
    let place = without_links(folder);
    if above.iter().any(|above| above.starts_with(&place)) {
        left_out.unreached.push(folder.to_path_buf());
        return Ok(());
    }
    above.push(place);
    let listing = Listing::read(folder)?;
    images.extend(listing.images);
    left_out.foreign.extend(listing.foreign);
    left_out.indexes.extend(listing.indexes);
    for (_, path) in listing.folders {
        match deeper.checked_sub(1) {
            Some(deeper) => add_images(&path, deeper, above, left_out, images)?,
            None => left_out.unreached.push(path),
        }
    }
    above.pop();
    Ok(())
}

fn without_links(folder: &Path) -> PathBuf {
    fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf())
}
