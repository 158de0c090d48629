#!/usr/bin/env python3
"""Checks the links of a built book: `check_links.py FOLDER`.

Every local link, image, script and style sheet has to exist, and every anchor has to name an element of
its page. Nothing that a page loads may come from a network.
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {("img", "src"), ("script", "src"), ("link", "href"), ("source", "src"), ("iframe", "src")}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.ids = set()
        self.links = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if value is None:
                continue
            if name == "id" or (tag == "a" and name == "name"):
                self.ids.add(value)
            if (tag, name) in LOADED or (tag, name) == ("a", "href"):
                self.links.append((tag, name, value))


def main():
    root = Path(sys.argv[1]).resolve()
    pages = {file: Page(file.read_text(encoding="utf-8")) for file in sorted(root.rglob("*.html"))}
    errors, checked = [], 0
    for file, page in pages.items():
        # A page for unknown addresses: its links start at the root of a server.
        if file.name == "404.html":
            continue
        for tag, name, link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                if (tag, name) in LOADED and parts.scheme != "data":
                    errors.append(f"{file.relative_to(root)}: loads {link} from a network")
                continue
            checked += 1
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            if target.is_dir():
                target /= "index.html"
            if not target.is_relative_to(root) or not target.is_file():
                errors.append(f"{file.relative_to(root)}: no such file: {link}")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].ids:
                errors.append(f"{file.relative_to(root)}: no such anchor: {link}")
    for error in errors:
        print(f"error: {error}", file=sys.stderr)
    print(f"{len(pages)} pages, {checked} local links, {len(errors)} errors")
    sys.exit(1 if errors or not pages else 0)


if __name__ == "__main__":
    main()
