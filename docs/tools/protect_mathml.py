#!/usr/bin/env python3
"""mdBook preprocessor: completes the MathML that `mdbook-katex` has made, and protects it from Markdown.

Browsers do not know `mathvariant="script"`, so calligraphic letters become characters. In Markdown `~`, `*`, `_` and `|` mean something between the tags of an equation as well: the accent of
`\\tilde r` would start a struck-out passage. They become character references. The TeX source, which
`mdbook-katex` appends to each equation, is left out: it would be found by the search of the book.
"""

import json
import re
import sys
import unicodedata

MATH = re.compile(r"<math\b.*?</math>", re.DOTALL)
SOURCE = re.compile(r"<annotation\b.*?</annotation>", re.DOTALL)
SCRIPT = re.compile(r'<mi mathvariant="script">([A-Z])</mi>')
SPECIAL = re.compile(r"[~*_|\\\[\]`$]")


def script(match):
    """Returns a calligraphic capital letter: some have a character among symbols, the others among letters."""
    letter = match.group(1)
    for name in f"SCRIPT CAPITAL {letter}", f"MATHEMATICAL SCRIPT CAPITAL {letter}":
        try:
            return f"<mi>{unicodedata.lookup(name)}</mi>"
        except KeyError:
            continue
    return match.group(0)


def protect(match):
    math = SCRIPT.sub(script, SOURCE.sub("", match.group(0)))
    # Attributes contain none of the characters.
    return SPECIAL.sub(lambda character: f"&#{ord(character.group(0))};", math)


def visit(items):
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            chapter = item["Chapter"]
            chapter["content"] = MATH.sub(protect, chapter["content"])
            visit(chapter["sub_items"])


def main():
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0 if sys.argv[2] == "html" else 1)
    _, book = json.load(sys.stdin)
    visit(book["items"])
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
