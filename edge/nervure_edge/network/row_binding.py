"""From a flow.v1 vector to the inputs of the model that runs now.

Rules: a model with one input that names no columns gets the whole vector under that input's name; one whose manifest names columns gets
those, in its order, so that a model made for a part of flow.v1 runs unchanged. A model that wants anything else is refused with one
`InputError` that says what does not fit. While no model runs, rows are named ``x``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from nervure_core.errors import InputError
from nervure_edge.network.flow_v1 import COLUMNS, SCHEMA
from nervure_edge.workloads.contract import Features, ModelInput


class RowBinding:
    """Fits vectors to the model, and again when the model changes.

    Args:
        model_inputs: The inputs of the running model.
    """

    def __init__(self, model_inputs: Callable[[], tuple[ModelInput, ...]]) -> None:
        self._model_inputs = model_inputs
        self._inputs: tuple[ModelInput, ...] = ()
        self._name = "x"
        self._chosen: npt.NDArray[np.intp] | None = None

    def bind(self, vector: npt.NDArray[np.float32]) -> Features:
        """Return the model's inputs for one row.

        Raises:
            InputError: If the model does not take flow.v1.
        """
        inputs = self._model_inputs()
        if inputs is not self._inputs:
            self._choose(inputs)
            self._inputs = inputs
        row = vector if self._chosen is None else vector[self._chosen]
        return {self._name: row[np.newaxis, :]}

    def _choose(self, inputs: tuple[ModelInput, ...]) -> None:
        self._name, self._chosen = "x", None
        if not inputs:
            return
        wanted = inputs[0]
        width = wanted.shape[-1] if len(wanted.shape) == 2 else -1
        if len(inputs) > 1 or wanted.dtype != "float32" or width == -1:
            raise InputError(
                f"the model does not take {SCHEMA}: it wants {', '.join(given.name for given in inputs)}",
                hint=f"a model for flows has one input, float32 of shape (N, {len(COLUMNS)})",
            )
        columns = wanted.columns or COLUMNS
        unknown = [column for column in columns if column not in COLUMNS]
        if unknown or width not in (None, len(columns)):
            fault = f"there is no column {unknown[0]!r}" if unknown else f"it wants {width} columns, not {len(columns)}"
            raise InputError(f"the model does not take {SCHEMA}: {fault}", hint="train it on the columns of flow.v1")
        self._name = wanted.name
        if columns != COLUMNS:
            self._chosen = np.array([COLUMNS.index(column) for column in columns], dtype=np.intp)
