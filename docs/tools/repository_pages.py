#!/usr/bin/env python3
"""mdBook preprocessor: turns Markdown pages of the repository into chapters of the book.

Chapters link to pages outside of `docs/src` as GitHub expects it, by relative paths. Each such page, and
each page that it links to in turn, becomes a chapter at the end of the book, with its images embedded. A
link to any other file of the repository keeps its text only. A link to a file that does not exist is an
error.
"""

import base64
import json
import os
import re
import sys
from pathlib import Path

# Images and links without a title. Targets that contain spaces are not used in this repository.
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
FENCE = re.compile(r"^\s*(```+|~~~+)")
CODE_SPAN = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)", re.DOTALL)
IMAGES = {".svg": "image/svg+xml", ".png": "image/png"}


class Pages:
    """The pages of the repository that became chapters, in the order in which they were found."""

    def __init__(self, root, source):
        self.root = root
        self.source = source
        self.found = {}
        self.errors = []

    def chapter_path(self, page):
        """Returns the path of a page's chapter, relative to `docs/src`."""
        if page.is_relative_to(self.source):
            return page.relative_to(self.source).as_posix()
        path = page.relative_to(self.root).with_suffix("")
        if path.name == "README" and len(path.parts) > 1:
            path = path.parent
        return f"repository/{path.as_posix().lower()}.md"

    def rewrite(self, text, page, chapter):
        """Rewrites the links of a page, given as Markdown, for a chapter with the path `chapter`."""

        def replaced(match):
            image, label, target = match.groups()
            if re.match(r"[a-z][a-z0-9+.-]*:", target) or target.startswith("#"):
                return match.group(0)
            path, _, anchor = target.partition("#")
            file = Path(os.path.normpath(page.parent / path))
            if file.is_dir():
                file /= "README.md"
            if not file.is_relative_to(self.root) or not file.is_file():
                self.errors.append(f"{page.relative_to(self.root)}: no such file: {target}")
                return match.group(0)
            if image:
                return self.image(match, file, page)
            if file.suffix != ".md":
                return label if "\0" in label else f"`{label}`"
            if not file.is_relative_to(self.source):
                self.found.setdefault(file, None)
            relative = os.path.relpath(self.chapter_path(file), os.path.dirname(chapter) or ".")
            # The label may hold an image or another construct.
            label = LINK.sub(replaced, label)
            return f"[{label}]({relative}{'#' + anchor if anchor else ''})"

        return outside_code(text, lambda prose: LINK.sub(replaced, prose))

    def image(self, match, file, page):
        if page.is_relative_to(self.source) and file.is_relative_to(self.source):
            return match.group(0)
        kind = IMAGES.get(file.suffix)
        if kind is None:
            self.errors.append(f"{page.relative_to(self.root)}: not an SVG or PNG image: {match.group(3)}")
            return match.group(0)
        data = base64.b64encode(file.read_bytes()).decode()
        return f"![{match.group(2)}](data:{kind};base64,{data})"

    def parts(self):
        """Reads the pages found so far, and those that they link to, and returns them as parts of a book."""
        done = {}
        while todo := [page for page in self.found if page not in done]:
            for page in todo:
                text = page.read_text(encoding="utf-8")
                path = self.chapter_path(page)
                done[page] = {
                    "name": self.name(text, page),
                    "content": self.rewrite(text, page, path),
                    "number": None,
                    "sub_items": [],
                    "path": path,
                    "source_path": None,
                    "parent_names": [],
                }
        items = []
        for title, wanted in ("Benchmarks", True), ("Other pages of the repository", False):
            pages = [page for page in sorted(done) if (self.root / "benchmarks" in page.parents) == wanted]
            if pages:
                items.append({"PartTitle": title})
                items.extend({"Chapter": done[page]} for page in pages)
        return items

    def name(self, text, page):
        """Returns the name of a page's chapter: its title, or the file's name in the root folder."""
        title = re.search(r"^# (.+)$", text, re.MULTILINE)
        if page.parent == self.root or title is None:
            return page.stem
        return title.group(1).replace("`", "")


def outside_code(text, change):
    """Applies `change` to a Markdown text outside of fenced blocks and code spans."""
    pieces, prose, fence = [], [], None

    def flush():
        block = "\n".join(prose)
        spans = [match.group(0) for match in CODE_SPAN.finditer(block)]
        hidden = CODE_SPAN.sub("\0", block)
        shown = iter(spans)
        # A link whose label is code keeps it: spans are put back after the change.
        pieces.append(re.sub("\0", lambda _: next(shown), change(hidden)))
        prose.clear()

    for line in text.split("\n"):
        mark = FENCE.match(line)
        if fence is None and mark:
            flush()
            fence = mark.group(1)
            pieces.append(line)
        elif fence is not None:
            pieces.append(line)
            if mark and line.strip().startswith(fence) and line.strip().strip(fence[0]) == "":
                fence = None
        else:
            prose.append(line)
    if prose:
        flush()
    return "\n".join(pieces)


def main():
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0 if sys.argv[2] == "html" else 1)
    context, book = json.load(sys.stdin)
    docs = Path(context["root"]).resolve()
    pages = Pages(docs.parent, docs / "src")

    def visit(items):
        for item in items:
            chapter = item.get("Chapter") if isinstance(item, dict) else None
            if chapter is None:
                continue
            if chapter.get("source_path"):
                page = pages.source / chapter["source_path"]
                chapter["content"] = pages.rewrite(chapter["content"], page, chapter["path"])
            visit(chapter["sub_items"])

    visit(book["items"])
    book["items"].extend(pages.parts())
    for error in pages.errors:
        print(f"error: {error}", file=sys.stderr)
    if pages.errors:
        sys.exit(1)
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
