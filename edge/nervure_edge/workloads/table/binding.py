"""From columns to model inputs, for any ONNX model.

Rules, in this order:
1. An input that the option ``inputs`` names takes the column or columns listed there.
2. A single input of two axes takes the columns of the option ``columns``, else those that the model's manifest names,
   else, when its width fits, all columns but those of label, time and subject, in their order.
3. Any other input takes the columns that the manifest names for it, else the column of its own name; one of width F
   takes ``<name>_0`` to ``<name>_<F-1>``.

What cannot be bound is an ``InputError`` that names the input, what was looked for and what there is. A value that
cannot be converted makes its row malformed, nothing else.

>>> bind((ModelInput("x", "float32", (None, 2)),), ["a", "b"], BindingOptions())({"a": "1", "b": "2"})["x"].tolist()
[[1.0, 2.0]]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nervure_core.errors import InputError
from nervure_edge.workloads.contract import Features, ModelInput
from nervure_edge.workloads.table.columns import BindingOptions, MalformedRow, Row

_TRUE = frozenset(("1", "true", "yes", "on", "t"))
_FALSE = frozenset(("0", "false", "no", "off", "f", ""))


def bind(inputs: Sequence[ModelInput], columns: Sequence[str], options: BindingOptions) -> Callable[[Row], Features]:
    """Return a function from a row to the model's inputs; it raises ``MalformedRow``.

    Raises:
        InputError: An input finds no columns.
    """
    unknown = set(options.inputs) - {wanted.name for wanted in inputs}
    if unknown:
        raise InputError(
            f"option inputs names {', '.join(sorted(unknown))}, which the model has not",
            hint=f"the model's inputs are {', '.join(wanted.name for wanted in inputs)}",
        )
    makers = [(wanted.name, _maker(wanted, _choose(wanted, inputs, columns, options), options)) for wanted in inputs]

    def features(row: Row) -> Features:
        return {name: make(row) for name, make in makers}

    return features


def _choose(
    wanted: ModelInput, inputs: Sequence[ModelInput], columns: Sequence[str], options: BindingOptions
) -> tuple[str, ...]:
    width = math.prod(extent or 1 for extent in wanted.shape[1:])
    free = len(wanted.shape) > 1 and wanted.shape[-1] is None
    chosen = options.inputs.get(wanted.name)
    if chosen is None and len(inputs) == 1 and len(wanted.shape) > 1:
        chosen = options.columns or wanted.columns or None
        if chosen is None and wanted.name not in columns:
            rest = tuple(column for column in columns if column not in options.aside)
            chosen = rest if free or len(rest) == width else None
    if chosen is None and wanted.columns:
        chosen = wanted.columns
    if chosen is None:
        chosen = (wanted.name,) if width == 1 else tuple(f"{wanted.name}_{index}" for index in range(width))
    missing = [column for column in chosen if column not in columns]
    if missing:
        raise InputError(
            f"model input {wanted.name!r} wants column {missing[0]!r}, which the table has not",
            hint=f"the table has {', '.join(columns)}; map them with the option inputs or columns",
        )
    if not free and len(chosen) != width:
        raise InputError(
            f"model input {wanted.name!r} takes {width} values, {len(chosen)} columns are mapped to it",
            hint="list exactly its columns with the option inputs or columns",
        )
    return chosen


def _maker(
    wanted: ModelInput, columns: tuple[str, ...], options: BindingOptions
) -> Callable[[Row], np.ndarray[Any, Any]]:
    convert = _converter(wanted, missing_is_nan=options.missing_is_nan)
    dtype = np.dtype(object) if wanted.dtype == "string" else np.dtype(wanted.dtype)
    shape = (1,) if len(wanted.shape) == 1 else (1, *(extent or len(columns) for extent in wanted.shape[1:]))

    def make(row: Row) -> np.ndarray[Any, Any]:
        try:
            return np.array([convert(row[column]) for column in columns], dtype).reshape(shape)
        except KeyError as error:
            raise MalformedRow(f"no value for column {error}") from error
        except (ValueError, TypeError, OverflowError) as error:
            raise MalformedRow(f"input {wanted.name!r}: {error}") from error

    return make


def _converter(wanted: ModelInput, *, missing_is_nan: bool) -> Callable[[Any], object]:
    kind = wanted.dtype
    if kind == "string":
        return _text
    if kind == "bool":
        return _truth
    if kind.startswith(("int", "uint")):
        return _whole
    if kind.startswith("float"):
        return _number_or_nan if missing_is_nan else float
    raise InputError(f"model input {wanted.name!r} is of type {kind}, which a table cannot hold")


def _text(value: object) -> str:
    if value is None or isinstance(value, dict | list):
        raise ValueError(f"{value!r} is no text")
    return str(value)


def _truth(value: object) -> bool:
    text = str(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError(f"{value!r} is neither true nor false")


def _whole(value: Any) -> int:
    if isinstance(value, str):
        return int(value)
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value!r} is no whole number")
    return int(value)


def _number_or_nan(value: Any) -> float:
    return math.nan if value is None or value == "" else float(value)
