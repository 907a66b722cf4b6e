"""The words of a table: rows, how their columns are chosen, and what makes a row malformed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nervure_core.errors import InputError

Row = Mapping[str, Any]
"""One row: texts from CSV, JSON values from JSON lines, by column."""


class MalformedRow(InputError):
    """A row has no value for a column, or one that is not of the input's type."""

    code = "malformed_row"


@dataclass(frozen=True, slots=True)
class BindingOptions:
    """How columns are chosen."""

    columns: tuple[str, ...] = ()
    inputs: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    aside: frozenset[str] = frozenset()
    """Columns that are no features: label, time, subject."""
    missing_is_nan: bool = False
    """An empty value of a floating input is NaN instead of making the row malformed."""
