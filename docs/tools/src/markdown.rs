//! Links and headings of a Markdown text.

use std::collections::HashSet;
use std::iter;
use std::ops::Range;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag, TagEnd};

/// A link or an image: `[label](target)` or `![label](target)`. The ranges are bytes of the text.
pub(crate) struct Link {
    pub(crate) range: Range<usize>,
    pub(crate) label: Range<usize>,
    /// Whether the label is text without emphasis, code or images.
    pub(crate) is_plain: bool,
    pub(crate) is_image: bool,
    pub(crate) target: String,
}

impl Link {
    /// Returns the path and the fragment of a relative link, empty where there is none. Returns `None` for
    /// an address with a scheme, such as `https:`.
    pub(crate) fn relative(&self) -> Option<(&str, &str)> {
        let has_scheme = self.target.split('/').next().is_some_and(|first| first.contains(':'));
        (!has_scheme).then(|| self.target.split_once('#').unwrap_or((&self.target, "")))
    }
}

/// Returns the file in the folder `root` that the path of a link on `page` names. A folder stands for its
/// README.md where it has one.
pub(crate) fn resolve(root: &Path, page: &Path, path: &str) -> Option<PathBuf> {
    let file = if path.is_empty() { page.into() } else { page.parent()?.join(path) };
    let file = file.canonicalize().ok().filter(|file| file.starts_with(root))?;
    let readme = file.join("README.md");
    Some(if readme.is_file() { readme } else { file })
}

pub(crate) fn is_markdown(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "md")
}

fn parse(text: &str) -> impl Iterator<Item = (Event<'_>, Range<usize>)> {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_MATH;
    Parser::new_ext(text, options).into_offset_iter()
}

/// Returns the links and images of a text, each after those in its label.
pub(crate) fn links(text: &str) -> Vec<Link> {
    let (mut links, mut open) = (Vec::new(), Vec::<Link>::new());
    for (event, range) in parse(text) {
        if let Event::End(TagEnd::Link | TagEnd::Image) = event {
            links.extend(open.pop());
            continue;
        }
        for link in &mut open {
            link.label.end = link.label.end.max(range.end);
            link.is_plain &= matches!(event, Event::Text(_));
        }
        let (link_type, target, is_image) = match event {
            Event::Start(Tag::Link { link_type, dest_url, .. }) => (link_type, dest_url, false),
            Event::Start(Tag::Image { link_type, dest_url, .. }) => (link_type, dest_url, true),
            _ => continue,
        };
        // `<person@example.org>` has neither a label nor a scheme.
        let target = if link_type == LinkType::Email { "mailto:".into() } else { target };
        let start = range.start + if is_image { "![".len() } else { "[".len() };
        let (label, target) = (start..start, target.into_string());
        open.push(Link { range, label, is_plain: true, is_image, target });
    }
    links
}

/// Returns the texts of a page's headings.
pub(crate) fn headings(text: &str) -> Vec<String> {
    let (mut headings, mut open) = (Vec::new(), None);
    for (event, _) in parse(text) {
        match (event, &mut open) {
            (Event::Start(Tag::Heading { .. }), _) => open = Some(String::new()),
            (Event::End(TagEnd::Heading(_)), _) => headings.extend(open.take()),
            (Event::Text(text) | Event::Code(text) | Event::InlineMath(text), Some(heading)) => {
                heading.push_str(&text);
            }
            _ => {}
        }
    }
    headings
}

/// Returns the anchors of a page's headings, as GitHub and mdBook name them.
pub(crate) fn anchors(text: &str) -> HashSet<String> {
    let mut anchors = HashSet::new();
    for heading in headings(text) {
        let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
        let slug = heading.to_lowercase().chars().filter(kept).collect::<String>();
        let slug = slug.replace(' ', "-");
        let numbered = (1..).map(|n| format!("{slug}-{n}"));
        let unused = iter::once(slug.clone()).chain(numbered).find(|slug| !anchors.contains(slug));
        anchors.extend(unused);
    }
    anchors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_code_and_formulas_are_none() {
        let text =
            "`[a](b)` $f[a](b)$\n\n```text\n[a](b)\n```\n\n    [a](b)\n\n[one](two) <a@b.org>\n";
        let targets: Vec<_> = links(text).into_iter().map(|link| link.target).collect();
        assert_eq!(targets, ["two", "mailto:"]);
    }

    #[test]
    fn labels_hold_images_and_code() {
        let text = "[![alt](a.svg)](b) [`c`\nd](e)";
        let labels: Vec<_> = links(text).into_iter().map(|link| &text[link.label]).collect();
        assert_eq!(labels, ["alt", "![alt](a.svg)", "`c`\nd"]);
    }

    #[test]
    fn anchors_are_lower_case_and_numbered() {
        let anchors =
            anchors("# The `C_j`, *now*\n\n## A\n\n## A\n\nB\n---\n\n```sh\n# comment\n```\n");
        let expected = ["the-c_j-now", "a", "a-1", "b"];
        assert_eq!(anchors, expected.map(String::from).into());
    }
}
