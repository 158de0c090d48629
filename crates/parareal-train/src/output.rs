//! Output files for results.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::TrainError;

/// Formats of output files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A web page.
    Html,
    /// A network in the ONNX format.
    Onnx,
    /// An image.
    Png,
    /// A Python module.
    Python,
    /// Tensors in a safetensors file.
    Safetensors,
    /// A vector drawing.
    Svg,
    /// Chrome trace events in JSON, which can be opened in <https://ui.perfetto.dev>.
    Trace,
}

impl Format {
    /// Returns the extensions of the format, and its description in messages.
    fn names(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Html => (&["html", "htm"], ".html"),
            Self::Onnx => (&["onnx"], ".onnx"),
            Self::Png => (&["png"], ".png"),
            Self::Python => (&["py"], ".py"),
            Self::Safetensors => (&["safetensors"], ".safetensors"),
            Self::Svg => (&["svg"], ".svg (a picture)"),
            Self::Trace => (&["json"], ".json (a trace for ui.perfetto.dev)"),
        }
    }

    /// Returns the format in `formats` that a file's extension selects. If `formats` has only one element, the
    /// extension may be missing.
    ///
    /// # Errors
    /// If the extension belongs to none of `formats`, or is missing although there are several formats
    /// ([`TrainError::Output`]).
    fn of(path: &Path, formats: &[Self]) -> Result<Self, TrainError> {
        let Some(extension) = path.extension() else {
            let [format] = formats else { return Err(Self::refuse(path, formats)) };
            return Ok(*format);
        };
        let names = |format: &Self| {
            let mut extensions = format.names().0.iter();
            extensions.any(|name| extension.eq_ignore_ascii_case(name))
        };
        formats.iter().copied().find(names).ok_or_else(|| Self::refuse(path, formats))
    }

    fn refuse(path: &Path, formats: &[Self]) -> TrainError {
        let expected: Vec<&str> = formats.iter().map(|format| format.names().1).collect();
        let message = format!("expected a name that ends in {}", expected.join(" or "));
        TrainError::Output { path: path.to_path_buf(), message }
    }
}

/// A file to write a result to.
///
/// A file appears only when it is completely written. It replaces an older file atomically and keeps its
/// permissions. Symbolic links are followed. A device, a pipe or an open file (`/dev/stdout`) is written to
/// directly.
#[derive(Clone, Debug)]
pub struct OutputFile {
    path: PathBuf,
    format: Format,
    overwrite: bool,
}

impl OutputFile {
    /// Checks the path of a file in one of these formats, before any work is done for the file.
    ///
    /// # Errors
    /// If there is a file or a link that must not be overwritten ([`TrainError::FileExists`]), or
    /// the file cannot be written there ([`TrainError::Output`]).
    pub fn new(path: &Path, formats: &[Format], overwrite: bool) -> Result<Self, TrainError> {
        let format = Format::of(path, formats)?;
        let output = Self { path: path.to_path_buf(), format, overwrite };
        let refuse = |message| Err(TrainError::Output { path: path.to_path_buf(), message });
        match output.locate() {
            Ok(Target::File { path: target, .. }) => match fs::metadata(parent(&target)) {
                Ok(folder) if folder.is_dir() => {
                    output.check_free()?;
                    match tempfile::tempfile_in(parent(&target)) {
                        Ok(_) => Ok(output),
                        Err(error) => refuse(explain(&target, &without_path(error))),
                    }
                }
                Ok(_) => refuse(format!("{} is not a folder", parent(&target).display())),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    refuse(format!("folder {} not found", parent(&target).display()))
                }
                Err(error) => refuse(explain(&target, &error)),
            },
            Ok(Target::Stream) => Ok(output),
            Err(error) => refuse(explain(path, &error)),
        }
    }

    /// Returns the format of the file.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// Returns the path as given.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the whole file. It is not an error if the reader of a pipe closes it early.
    ///
    /// # Errors
    /// If the file cannot be written ([`TrainError::File`]; an older file is left unchanged), or if it must not
    /// be overwritten and has been created since [`Self::new`] ([`TrainError::FileExists`]).
    pub fn write(&self, content: &[u8]) -> Result<(), TrainError> {
        let written = match self.locate().map_err(TrainError::file("write", &self.path))? {
            Target::Stream => {
                let stream = OpenOptions::new().append(true).open(&self.path);
                match stream.and_then(|mut stream| stream.write_all(content)) {
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
                    written => written,
                }
            }
            Target::File { path, old } => {
                self.check_free()?;
                match self.replace(&path, old.as_ref(), content) {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        return Err(TrainError::FileExists { path: self.path.clone() });
                    }
                    written => written,
                }
            }
        };
        written.map_err(TrainError::file("write", &self.path))
    }

    fn check_free(&self) -> Result<(), TrainError> {
        match !self.overwrite && fs::symlink_metadata(&self.path).is_ok() {
            true => Err(TrainError::FileExists { path: self.path.clone() }),
            false => Ok(()),
        }
    }

    fn locate(&self) -> io::Result<Target> {
        let old = match fs::metadata(&self.path) {
            Ok(found) if found.is_dir() => return Err(ErrorKind::IsADirectory.into()),
            Ok(found) if !found.is_file() => return Ok(Target::Stream),
            Ok(found) => Some(found),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let mut path = self.path.clone();
        loop {
            if is_open_file(&path) {
                return Ok(Target::Stream);
            }
            // `fs::metadata` has already followed all links, so the loop ends.
            match fs::read_link(&path) {
                Ok(link) => path = parent(&path).join(link),
                Err(_) => return Ok(Target::File { path, old }),
            }
        }
    }

    /// Writes a temporary file in the same folder, and renames it.
    fn replace(&self, path: &Path, old: Option<&Metadata>, content: &[u8]) -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".parareal-");
        // The default mode of new files, which the umask restricts. Temporary files are private by default.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let mut file = builder.tempfile_in(parent(path)).map_err(without_path)?;
        file.as_file_mut().write_all(content)?;
        if let Some(old) = old {
            file.as_file().set_permissions(old.permissions())?;
        }
        file.as_file().sync_all()?;
        let named = match self.overwrite {
            true => file.persist(path),
            false => file.persist_noclobber(path),
        };
        named.map(drop).map_err(|error| error.error)
    }
}

/// Destination of a file's content.
enum Target {
    /// A file that is not a regular file, or that a process already has open.
    Stream,
    /// A regular file, after following all links, or a new one.
    File { path: PathBuf, old: Option<Metadata> },
}

/// Returns true if the path refers to an open file of a process, such as `/dev/stdout`. The open file may be a
/// regular file.
fn is_open_file(path: &Path) -> bool {
    let folder = parent(path).canonicalize().unwrap_or_default();
    folder.starts_with("/proc") || folder.starts_with("/dev/fd")
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Returns the reason that a path cannot be used.
pub(crate) fn explain(path: &Path, error: &io::Error) -> String {
    let is_file = |path: &&Path| fs::metadata(path).is_ok_and(|found| !found.is_dir());
    match path.ancestors().skip(1).find(is_file) {
        Some(file) if error.kind() == ErrorKind::NotADirectory => {
            format!("{} is not a folder", file.display())
        }
        _ => error.to_string(),
    }
}

/// Removes the name of a temporary file from an error.
fn without_path(error: io::Error) -> io::Error {
    let system = error.get_ref().and_then(|error| error.source()?.downcast_ref::<io::Error>());
    system.and_then(io::Error::raw_os_error).map_or(error, io::Error::from_raw_os_error)
}
