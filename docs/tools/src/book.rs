//! The preprocessor: pages of the repository become chapters of the book.
//!
//! Chapters link to pages outside of `docs/src` as GitHub expects it, by relative paths. Each such page, and
//! each page that it links to in turn, becomes a chapter at the end of the book, with its images embedded. A
//! link to any other file of the repository keeps its label only.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use serde_json::{Value, json};

use crate::markdown::{headings, is_markdown, links, resolve};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Replaces the text of each chapter in a book, or in a chapter with nested ones. `change` gets the path, relative
/// to `docs/src`, and the text.
pub(crate) fn for_each_chapter(
    book: &mut Value,
    change: &mut impl FnMut(&str, &str) -> Result<String>,
) -> Result<()> {
    let items = if book.get("items").is_some() { "items" } else { "sub_items" };
    for item in book[items].as_array_mut().into_iter().flatten() {
        let Some(chapter) = item.get_mut("Chapter") else { continue };
        if let (Some(path), Some(text)) = (chapter["path"].as_str(), chapter["content"].as_str()) {
            chapter["content"] = change(path, text)?.into();
        }
        for_each_chapter(chapter, change)?;
    }
    Ok(())
}

/// Adds the pages to a book in the folder `docs` of a repository.
pub(crate) fn add_pages(book: &mut Value, docs: &Path) -> Result<()> {
    let root = docs.parent().ok_or("the book is in no repository")?;
    let source = &docs.join("src");
    let mut pages = Pages { root, source, found: Vec::new() };
    for_each_chapter(book, &mut |path, text| pages.rewrite(text, &source.join(path), path))?;
    book["items"].as_array_mut().ok_or("the book has no items")?.extend(pages.parts()?);
    Ok(())
}

struct Pages<'a> {
    root: &'a Path,
    source: &'a Path,
    /// The pages that become chapters, in the order in which they were found.
    found: Vec<PathBuf>,
}

impl Pages<'_> {
    /// Rewrites the links of a page for its chapter, whose path is relative to `docs/src`. Links that name no
    /// file stay as they are.
    fn rewrite(&mut self, text: &str, page: &Path, chapter: &str) -> Result<String> {
        let mut edits = Vec::new();
        for link in links(text) {
            let Some((path, fragment)) = link.relative().filter(|(path, _)| !path.is_empty())
            else {
                continue;
            };
            let Some(file) = resolve(self.root, page, path) else { continue };
            if page.starts_with(self.source) && file.starts_with(self.source) {
                continue;
            }
            let around = if link.is_image {
                ("![".into(), format!("]({})", data_url(&file)?))
            } else if is_markdown(&file) {
                let up = "../".repeat(chapter.matches('/').count());
                let mark = if fragment.is_empty() { "" } else { "#" };
                let target = format!("]({up}{}{mark}{fragment})", self.chapter_path(&file)?);
                if !file.starts_with(self.source) && !self.found.contains(&file) {
                    self.found.push(file);
                }
                ("[".into(), target)
            } else {
                let mark = if link.is_plain { "`" } else { "" };
                (String::from(mark), String::from(mark))
            };
            edits.push((link.range.start..link.label.start, around.0));
            edits.push((link.label.end..link.range.end, around.1));
        }
        edits.sort_by_key(|(range, _)| range.start);
        let (mut result, mut end) = (String::new(), 0);
        for (range, edit) in edits {
            result.push_str(&text[end..range.start]);
            result.push_str(&edit);
            end = range.end;
        }
        Ok(result + &text[end..])
    }

    /// Returns the path of a page's chapter, relative to `docs/src`.
    fn chapter_path(&self, page: &Path) -> Result<String> {
        if let Ok(path) = page.strip_prefix(self.source) {
            return Ok(path.display().to_string());
        }
        let path = page.strip_prefix(self.root)?.display().to_string().to_lowercase();
        Ok(format!("repository/{}", path.replace("/readme.md", ".md")))
    }

    /// Reads the pages found so far, and those that they link to, and returns them as parts of the book.
    fn parts(&mut self) -> Result<Vec<Value>> {
        let mut parts =
            [("Benchmarks", BTreeMap::new()), ("Other pages of the repository", BTreeMap::new())];
        let mut next = 0;
        while let Some(page) = self.found.get(next).cloned() {
            let text = fs::read_to_string(&page)?;
            let path = self.chapter_path(&page)?;
            // Pages in the root folder are known by their names.
            let title =
                headings(&text).into_iter().next().filter(|_| page.parent() != Some(self.root));
            let chapter = json!({ "Chapter": {
                "name": title.or_else(|| Some(page.file_stem()?.to_str()?.into())),
                "content": self.rewrite(&text, &page, &path)?,
                "number": null,
                "sub_items": [],
                "path": path,
                "source_path": null,
                "parent_names": [],
            }});
            let is_other = !page.starts_with(self.root.join("benchmarks"));
            parts[usize::from(is_other)].1.insert(page, chapter);
            next += 1;
        }
        let mut items = Vec::new();
        for (title, chapters) in parts {
            if !chapters.is_empty() {
                items.push(json!({ "PartTitle": title }));
                items.extend(chapters.into_values());
            }
        }
        Ok(items)
    }
}

/// Returns an image as an address that holds its data.
fn data_url(image: &Path) -> Result<String> {
    let kind = match image.extension().and_then(|extension| extension.to_str()) {
        Some("svg") => "svg+xml",
        Some("png") => "png",
        _ => return Err(format!("{}: not an SVG or PNG image", image.display()).into()),
    };
    Ok(format!("data:image/{kind};base64,{}", BASE64_STANDARD.encode(fs::read(image)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Repository;

    #[test]
    fn links_outside_of_the_book_are_rewritten() {
        let text = "[A *b*](../../../README.md#x) [`c`](../../../c.rs) [d](../../../c.rs) [e](e.md#f)\n\
            [g](../../../benchmarks/g) ![h](../../h.svg) [i](none.md) [#](#j) `[k](../../../c.rs)`\n";
        let repository = Repository::new(
            "rewritten",
            &[
                ("README.md", "# R\n[e](docs/src/a/e.md) [g](benchmarks/g/README.md)"),
                ("benchmarks/g/README.md", "# The `G`\n![h](../../docs/h.svg)"),
                ("c.rs", ""),
                ("docs/h.svg", "<svg/>"),
                ("docs/src/a/e.md", "# E"),
            ],
        );
        let chapter = |name, path| {
            json!({ "Chapter": { "name": name, "content": text, "number": null, "sub_items": [],
                "path": path, "source_path": path, "parent_names": [] } })
        };
        let mut book = json!({ "items": [chapter("A", "a/a.md"), "Separator"] });
        add_pages(&mut book, &repository.root.join("docs")).unwrap();

        let content = |item: usize| book["items"][item]["Chapter"]["content"].as_str().unwrap();
        assert_eq!(
            content(0),
            "[A *b*](../repository/readme.md#x) `c` `d` [e](e.md#f)\n\
            [g](../repository/benchmarks/g.md) ![h](data:image/svg+xml;base64,PHN2Zy8+) [i](none.md) \
            [#](#j) `[k](../../../c.rs)`\n"
        );
        assert_eq!(book["items"][2]["PartTitle"], "Benchmarks");
        assert_eq!(book["items"][3]["Chapter"]["name"], "The G");
        assert_eq!(content(3), "# The `G`\n![h](data:image/svg+xml;base64,PHN2Zy8+)");
        assert_eq!(book["items"][5]["Chapter"]["name"], "README");
        assert_eq!(content(5), "# R\n[e](../a/e.md) [g](../repository/benchmarks/g.md)");
    }
}
