//! Folders of image files: which of them are classes, which are splits, and what is left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{DataError, one_line};

/// Names of folders of test images, the preferred one first.
const TEST: [&str; 4] = ["test", "val", "valid", "validation"];
/// Folders that systems and storage devices make for their own use.
const INDEXES: [&str; 2] = ["@eaDir", "__MACOSX"];
/// Folders below that of a class that are looked into.
const DEEPEST: usize = 16;
/// Names in a remark about what is left out.
const NAMED: usize = 3;

/// The image files of each class, by the name of its folder.
pub(crate) type Classes = BTreeMap<String, Vec<PathBuf>>;

/// Where the training and test images of a folder are.
pub(crate) struct Layout {
    /// The folder with a folder for each class.
    pub(crate) training: PathBuf,
    /// The same for test images.
    pub(crate) test: Option<PathBuf>,
    /// Folders of images that are neither.
    beside: Vec<PathBuf>,
}

impl Layout {
    /// Looks for `train` and for a folder of test images in `root`.
    ///
    /// `train` is a split where it has folders of images in it. It is a class where images lie
    /// directly in it and other classes beside it. Without it, a folder of test images is one whose
    /// folders have the names of the classes beside it.
    pub(crate) fn of(root: &Path) -> Result<Self, DataError> {
        let listing = Listing::read(root)?;
        let named = |path: &Path, name: &str| {
            path.file_name().is_some_and(|found| found.eq_ignore_ascii_case(name))
        };
        let find =
            |name: &str| listing.folders.iter().map(|(_, path)| path).find(|p| named(p, name));
        let tests: Vec<&PathBuf> = TEST.into_iter().filter_map(find).collect();
        let mut others = Vec::new();
        let mut other_names = Vec::new();
        for (name, path) in &listing.folders {
            if !named(path, "train") && !tests.contains(&path) && has_images(path)? {
                others.push(path.clone());
                other_names.push(name.clone());
            }
        }
        if let Some(train) = find("train")
            && !classes_in(train)?.is_empty()
            && (others.is_empty() || Listing::read(train)?.images.is_empty())
        {
            let mut tests = tests.into_iter().cloned();
            let (training, test) = (train.clone(), tests.next());
            for further in tests {
                if has_images(&further)? {
                    others.push(further);
                }
            }
            return Ok(Self { training, test, beside: others });
        }
        let (training, beside) = (root.to_path_buf(), Vec::new());
        for test in tests {
            let classes = classes_in(test)?;
            let is_test = classes.keys().all(|name| other_names.contains(name));
            if !classes.is_empty() && is_test && Listing::read(test)?.images.is_empty() {
                return Ok(Self { training, test: Some(test.clone()), beside });
            }
        }
        Ok(Self { training, test: None, beside })
    }

    /// The classes of the training images.
    pub(crate) fn training_classes(&self, left_out: &mut LeftOut) -> Result<Classes, DataError> {
        for folder in &self.beside {
            left_out
                .beside
                .push((folder.clone(), images_below(folder, &mut LeftOut::default())?.len()));
        }
        classes(&self.training, self.test.as_deref(), left_out)
    }

    /// The classes of the test images in their folder.
    ///
    /// # Errors
    /// Where there are none: whoever made such a folder wants it to be used.
    pub(crate) fn test_classes(test: &Path, left_out: &mut LeftOut) -> Result<Classes, DataError> {
        let classes = classes(test, None, left_out)?;
        if classes.is_empty() {
            let loose = Listing::read(test)?.images.len();
            let message = format!(
                "it has no folder with PNG or JPEG files, and {loose} of them outside of folders: \
                 sort the test images into a folder for each class, or remove this folder"
            );
            return Err(DataError::Folder { path: test.to_path_buf(), message });
        }
        Ok(classes)
    }
}

/// What was not taken for an image of a class.
#[derive(Default)]
pub(crate) struct LeftOut {
    foreign: Vec<PathBuf>,
    loose: Vec<PathBuf>,
    indexes: Vec<PathBuf>,
    unreached: Vec<PathBuf>,
    /// With the number of their images.
    beside: Vec<(PathBuf, usize)>,
}

impl LeftOut {
    /// A line for each kind of what is left out, with number and names.
    pub(crate) fn notes(&self, root: &Path) -> Vec<String> {
        let name = |path: &PathBuf| {
            one_line(&path.strip_prefix(root).unwrap_or(path).display().to_string())
        };
        let note = |thing: &str, what: &str, names: Vec<String>| {
            let more = match names.len().saturating_sub(NAMED) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let listed = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let (count, s) = (names.len(), if names.len() == 1 { "" } else { "s" });
            (count > 0).then(|| format!("left out: {count} {thing}{s} {what}: {listed}{more}"))
        };
        let beside =
            self.beside.iter().map(|(path, images)| format!("{} ({images} images)", name(path)));
        let names = |paths: &[PathBuf]| paths.iter().map(name).collect();
        [
            note("file", "not called .png, .jpg or .jpeg", names(&self.foreign)),
            note("image", "outside of the folder of a class", names(&self.loose)),
            note(
                "folder",
                "made by a system for its own use, or called like an image",
                names(&self.indexes),
            ),
            note("folder", "linked in a loop or too deep", names(&self.unreached)),
            note("folder", "of images beside the training and test images", beside.collect()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// The entries of a folder but for hidden ones, each kind in the order of its names.
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
            message: format!("it cannot be read: {error}"),
        };
        let mut entries = Vec::new();
        for entry in fs::read_dir(folder).map_err(wrong)? {
            let path = entry.map_err(wrong)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if !name.starts_with('.') {
                entries.push((name.escape_debug().to_string(), path));
            }
        }
        entries.sort();
        let mut listing = Self::default();
        for (name, path) in entries {
            match fs::metadata(&path) {
                Ok(found) if found.is_dir() => {
                    match is_called_image(&path) || INDEXES.contains(&name.as_str()) {
                        true => listing.indexes.push(path),
                        false => listing.folders.push((name, path)),
                    }
                }
                Ok(found) if !found.is_file() => listing.foreign.push(path),
                // One that cannot be looked at is refused where it is read.
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

/// The folders of a folder that have images, in them or below them.
fn classes(
    folder: &Path,
    except: Option<&Path>,
    left_out: &mut LeftOut,
) -> Result<Classes, DataError> {
    let listing = Listing::read(folder)?;
    left_out.loose.extend(listing.images);
    left_out.foreign.extend(listing.foreign);
    left_out.indexes.extend(listing.indexes);
    let mut classes = Classes::new();
    for (name, path) in listing.folders {
        if Some(&*path) != except {
            let images = images_below(&path, left_out)?;
            if !images.is_empty() {
                classes.insert(name, images);
            }
        }
    }
    Ok(classes)
}

fn classes_in(folder: &Path) -> Result<Classes, DataError> {
    classes(folder, None, &mut LeftOut::default())
}

fn has_images(folder: &Path) -> Result<bool, DataError> {
    Ok(!images_below(folder, &mut LeftOut::default())?.is_empty())
}

/// The images of a folder, then those of the folders in it.
fn images_below(folder: &Path, left_out: &mut LeftOut) -> Result<Vec<PathBuf>, DataError> {
    let mut images = Vec::new();
    add_images(folder, &mut Vec::new(), left_out, &mut images)?;
    Ok(images)
}

/// `above` are the folders on the way here, without links.
fn add_images(
    folder: &Path,
    above: &mut Vec<PathBuf>,
    left_out: &mut LeftOut,
    images: &mut Vec<PathBuf>,
) -> Result<(), DataError> {
    let place = fs::canonicalize(folder).unwrap_or_else(|_| folder.to_path_buf());
    if above.iter().any(|above| above.starts_with(&place)) || above.len() > DEEPEST {
        left_out.unreached.push(folder.to_path_buf());
        return Ok(());
    }
    above.push(place);
    let listing = Listing::read(folder)?;
    images.extend(listing.images);
    left_out.foreign.extend(listing.foreign);
    left_out.indexes.extend(listing.indexes);
    for (_, path) in listing.folders {
        add_images(&path, above, left_out, images)?;
    }
    above.pop();
    Ok(())
}
