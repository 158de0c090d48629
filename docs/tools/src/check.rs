//! The checks of pages.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::markdown::{anchors, is_markdown, links, resolve};

/// Returns an error for each broken link of a page, which names no file of the repository or no heading of a
/// Markdown file.
pub(crate) fn broken_links(root: &Path, page: &Path, text: &str) -> io::Result<Vec<String>> {
    let mut errors = Vec::new();
    for link in links(text) {
        let Some((path, fragment)) = link.relative() else { continue };
        let missing = match resolve(root, &root.join(page), path) {
            None => "file",
            Some(file) if !fragment.is_empty() && is_markdown(&file) => {
                if anchors(&fs::read_to_string(&file)?).contains(fragment) {
                    continue;
                }
                "heading"
            }
            Some(_) => continue,
        };
        let line = 1 + text[..link.range.start].matches('\n').count();
        errors.push(format!("{}:{line}: no such {missing}: {}", page.display(), link.target));
    }
    Ok(errors)
}

/// Returns an error for each page in `docs/src` that the table of contents lacks: mdBook would leave it out.
pub(crate) fn unlisted_pages(root: &Path, pages: &[&Path]) -> io::Result<Vec<String>> {
    let summary = root.join("docs/src/SUMMARY.md");
    let contents = links(&fs::read_to_string(&summary)?);
    let listed: HashSet<PathBuf> =
        contents.iter().filter_map(|link| resolve(root, &summary, &link.target)).collect();
    let is_unlisted = |page: &&&Path| {
        let file = root.join(page);
        page.starts_with("docs/src") && file != summary && !listed.contains(&file)
    };
    let error = |page: &&Path| format!("{}:1: not in docs/src/SUMMARY.md", page.display());
    Ok(pages.iter().filter(is_unlisted).map(error).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Repository;

    #[test]
    fn missing_files_and_headings_are_errors() {
        let repository = Repository::new("links", &[("a/README.md", "# One"), ("b.txt", "")]);
        let text = "[x](../a) [x](../b.txt#L1) [x](#one) [x](https://c.org/d)\n\
            \n[*y*](../a/README.md#two)\n![z](c.svg)\n[w](../..)\n";
        let errors = broken_links(&repository.root, Path::new("a/README.md"), text).unwrap();
        assert_eq!(
            errors,
            [
                "a/README.md:3: no such heading: ../a/README.md#two",
                "a/README.md:4: no such file: c.svg",
                "a/README.md:5: no such file: ../..",
            ]
        );
    }

    #[test]
    fn pages_that_the_contents_lack_are_errors() {
        let files = [("docs/src/SUMMARY.md", "- [A](a.md)"), ("docs/src/a.md", "")];
        let repository = Repository::new("contents", &files);
        let pages =
            ["b.md", "docs/src/SUMMARY.md", "docs/src/a.md", "docs/src/c.md"].map(Path::new);
        let errors = unlisted_pages(&repository.root, &pages).unwrap();
        assert_eq!(errors, ["docs/src/c.md:1: not in docs/src/SUMMARY.md"]);
    }
}
