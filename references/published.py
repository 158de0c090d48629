"""Files of published data sets."""

import gzip


def unpacked(file):
    """The content of a file, which may be compressed with gzip."""
    content = file.read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
