//! Tools of the book.
//!
//! ```text
//! book-tools links PAGE...    checks the links of Markdown files; the current folder is the repository
//! book-tools pages            mdBook preprocessor: pages of the repository become chapters
//! book-tools mathml           mdBook preprocessor: protects equations from Markdown
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod book;
mod check;
mod markdown;
mod mathml;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use serde_json::Value;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        // mdBook asks whether a preprocessor supports a renderer.
        ["pages" | "mathml", "supports", renderer] => Ok(renderer == "html"),
        ["pages"] => preprocess(book::add_pages),
        ["mathml"] => preprocess(|book, _| {
            book::for_each_chapter(book, &mut |_, text| Ok(mathml::protect(text)))
        }),
        ["links", ref pages @ ..] => check(pages),
        _ => Err("usage: book-tools links PAGE... | pages | mathml".into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Reads `[context, book]` from standard input and writes the changed book to standard output. `change` gets the
/// book and its folder.
fn preprocess(
    change: impl FnOnce(&mut Value, &Path) -> book::Result<()>,
) -> Result<bool, Box<dyn Error>> {
    let (context, mut book): (Value, Value) = serde_json::from_reader(io::stdin().lock())?;
    let docs = context["root"].as_str().ok_or("the context names no root")?;
    change(&mut book, &fs::canonicalize(docs)?)?;
    serde_json::to_writer(io::stdout().lock(), &book)?;
    Ok(true)
}

/// Prints what is wrong with Markdown files, and returns whether all is well.
fn check(pages: &[&str]) -> Result<bool, Box<dyn Error>> {
    let root = env::current_dir()?.canonicalize()?;
    let paths: Vec<&Path> = pages.iter().map(Path::new).collect();
    let mut errors = check::unlisted_pages(&root, &paths)?;
    for page in paths {
        let text =
            fs::read_to_string(page).map_err(|error| format!("{}: {error}", page.display()))?;
        errors.extend(check::broken_links(&root, page, &text)?);
    }
    for error in &errors {
        eprintln!("{error}");
    }
    println!("{} pages, {} errors", pages.len(), errors.len());
    Ok(errors.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::process;

    /// A folder with files, deleted at the end of its test.
    pub(crate) struct Repository {
        pub(crate) root: PathBuf,
    }

    impl Repository {
        pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = env::temp_dir().join(format!("book-tools-{name}-{}", process::id()));
            for (path, text) in files {
                let file = root.join(path);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Self { root: root.canonicalize().unwrap() }
        }
    }

    impl Drop for Repository {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.root).unwrap();
        }
    }
}
