"""Zstandard (RFC 8878) with a bound on what comes out.

The module of the standard library where there is one (Python 3.14), else its backport: the same code under another name.
"""

from __future__ import annotations

import sys

if sys.version_info >= (3, 14):
    from compression import zstd as _zstd
else:
    from backports import zstd as _zstd

LEVEL = 3


def compress(data: bytes) -> bytes:
    """Return ``data`` as one zstd frame."""
    return bytes(_zstd.compress(data, level=LEVEL))


def decompress_bounded(data: bytes, max_bytes: int) -> bytes:
    """Return the content of one zstd frame.

    Raises:
        ValueError: ``data`` is damaged, torn, has bytes after the frame, or holds more than ``max_bytes``.
    """
    decompressor = _zstd.ZstdDecompressor()
    try:
        plain = bytes(decompressor.decompress(data, max_length=max_bytes + 1))
    except _zstd.ZstdError as error:
        raise ValueError(str(error)) from error
    if len(plain) > max_bytes:
        raise ValueError(f"more than {max_bytes} bytes")
    if not decompressor.eof:
        raise ValueError("torn frame")
    if decompressor.unused_data:
        raise ValueError("bytes after the frame")
    return plain
