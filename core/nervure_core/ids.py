"""Names and identifiers.

Rules: a name is chosen by a person and may stand in a path, a key or a label (so: lower case, no separators); an id is
made by a machine and never means anything.

>>> check_name("region", "europe")
'europe'
"""

from __future__ import annotations

import re
import secrets

from nervure_core.errors import ConfigurationError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")

STREAM_ID_BYTES = 16


def check_name(kind: str, text: str) -> str:
    """Return ``text`` if it can be a name of ``kind``.

    Args:
        kind: What the name is for, as the error shall call it ("region", "agent").
        text: The candidate.

    Raises:
        ConfigurationError: ``text`` is empty, longer than 63 characters, or has characters outside ``a-z 0-9 . _ -``.
    """
    if _NAME.fullmatch(text) is None:
        raise ConfigurationError(
            f"{kind} {text!r} is not a name",
            hint="use 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
        )
    return text


def new_id(prefix: str) -> str:
    """Return ``prefix`` and 10 random hex digits, such as ``run-3f9a01c2d4``."""
    return f"{prefix}-{secrets.token_hex(5)}"


def new_stream_id() -> bytes:
    """Return 16 random bytes: the identity of one spool folder, so that a wiped device can't collide with itself."""
    return secrets.token_bytes(STREAM_ID_BYTES)
