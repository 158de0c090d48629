//! Files that a caller names for a result.

use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::TrainError;

/// A format that results are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A page for a browser.
    Html,
    /// An image.
    Png,
    /// Tensors.
    Safetensors,
    /// A drawing.
    Svg,
    /// Chrome trace events in JSON, which <https://ui.perfetto.dev> opens.
    Trace,
}

impl Format {
    /// The extensions of its files, and what to call it.
    fn names(self) -> (&'static [&'static str], &'static str) {
        match self {
            Self::Html => (&["html", "htm"], ".html"),
            Self::Png => (&["png"], ".png"),
            Self::Safetensors => (&["safetensors"], ".safetensors"),
            Self::Svg => (&["svg"], ".svg (a picture)"),
            Self::Trace => (&["json"], ".json (a trace for ui.perfetto.dev)"),
        }
    }

    /// Returns the format, out of those that can be written, that a file's extension stands for. A
    /// name without an extension leaves no choice where there is only one.
    ///
    /// # Errors
    /// [`TrainError::Output`] where the extension is another one, or missing and needed.
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
/// A new file appears only when all of it is written, and replaces an older one in the same way,
/// with its permissions. A symbolic link is followed. A device, a pipe or an open file
/// (`/dev/stdout`) is written to as it is.
#[derive(Clone, Debug)]
pub struct OutputFile {
    path: PathBuf,
    format: Format,
    overwrite: bool,
}

impl OutputFile {
    /// Checks a name, before any work is done for what is to be written there in one of these
    /// formats.
    ///
    /// # Errors
    /// [`TrainError::FileExists`] where there is a file, or a link, that is not to be overwritten,
    /// and [`TrainError::Output`] where the name cannot be that of the file.
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
                    refuse(format!("there is no folder {}", parent(&target).display()))
                }
                Err(error) => refuse(explain(&target, &error)),
            },
            Ok(Target::Stream) => Ok(output),
            Err(error) => refuse(explain(path, &error)),
        }
    }

    /// The format that its content is expected in.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The name that was asked for.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the whole file. The reader of a pipe may go away before.
    ///
    /// # Errors
    /// [`TrainError::File`] where it cannot be written, which leaves an older file as it was, and
    /// [`TrainError::FileExists`] where it has come into being since it was checked for.
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
            // The system has followed the links already, so they come to an end.
            match fs::read_link(&path) {
                Ok(link) => path = parent(&path).join(link),
                Err(_) => return Ok(Target::File { path, old }),
            }
        }
    }

    /// Writes a file of a new name beside, and gives it its name.
    fn replace(&self, path: &Path, old: Option<&Metadata>, content: &[u8]) -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(".parareal-");
        // As of any other new file: the umask takes from them.
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
    /// To something that is not a regular file, or that the process has open already.
    Stream,
    /// To a regular file, behind all links, or to a new one.
    File { path: PathBuf, old: Option<Metadata> },
}

/// Tells a name of a file that a process has open, which may be a regular one: `/dev/stdout`.
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

/// Says why a name cannot be used.
pub(crate) fn explain(path: &Path, error: &io::Error) -> String {
    let is_file = |path: &&Path| fs::metadata(path).is_ok_and(|found| !found.is_dir());
    match path.ancestors().skip(1).find(is_file) {
        Some(file) if error.kind() == ErrorKind::NotADirectory => {
            format!("{} is not a folder", file.display())
        }
        _ => error.to_string(),
    }
}

/// Takes the name of a temporary file out of an error.
fn without_path(error: io::Error) -> io::Error {
    let system = error.get_ref().and_then(|error| error.source()?.downcast_ref::<io::Error>());
    system.and_then(io::Error::raw_os_error).map_or(error, io::Error::from_raw_os_error)
}
