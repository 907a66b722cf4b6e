"""The workload ``table``: rows of a CSV file, a JSON lines file or stdin, for any ONNX model.

Rules: the first row of a CSV file names the columns unless ``header`` is false (then they are ``c0``, ``c1``, ...);
columns find their inputs by ``nervure_edge.workloads.table.binding``; a row with too few or too many fields, bad JSON or
a value of the wrong type is counted as malformed and skipped, and the first few are logged with the reason. With JSON lines the columns are those of the first object;
later objects may have more.

>>> table({"input": "rows.csv", "label": "species"}, lambda: ()).name
'table'
"""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nervure_core.errors import ConfigurationError, InputError
from nervure_edge.config_sources import explain_validation
from nervure_edge.workloads.contract import Features, ModelInput, Observation, Pipeline, WorkloadConfig
from nervure_edge.workloads.table.columns import BindingOptions, MalformedRow, Row
from nervure_edge.workloads.table.lines import LineSource

logger = logging.getLogger(__name__)

_MAX_DETAIL = 1024
_LOGGED_ROWS = 3


class TableOptions(BaseModel):
    """``[workload.options]`` of a table."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: str
    """A file, a file ending in .gz, or ``-`` for stdin."""
    format: Literal["auto", "csv", "jsonl"] = "auto"
    """``auto`` takes the file's name, for stdin the first character."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    header: bool = True
    columns: tuple[str, ...] = ()
    """Columns of a model's single input, in its order."""
    inputs: dict[str, str | tuple[str, ...]] = Field(default_factory=dict[str, str | tuple[str, ...]])
    """Model input to column or columns."""
    label: str | None = None
    """Column with the true label; such rows feed the trainer."""
    time: str | None = None
    """Column with seconds since the Unix epoch."""
    subject: str | None = None
    """Column that says what a row is about; without one it is ``row-<number>``."""
    missing: Literal["skip", "nan"] = "skip"
    """What an empty value of a floating input makes of its row."""
    rows_per_s: Annotated[float, Field(ge=0)] = 0.0
    """Pace; 0 is as fast as the model is."""

    @model_validator(mode="after")
    def _one_mapping(self) -> TableOptions:
        if self.columns and self.inputs:
            raise ValueError("columns and inputs contradict each other: give one of them")
        return self


class TableWorkload:
    """Rows for a model.

    Args:
        options: Where rows come from and how they map.
        model_inputs: The inputs of the running model; columns are bound when it is known, and again when it changes.
    """

    name = "table"

    def __init__(self, options: TableOptions, model_inputs: Callable[[], tuple[ModelInput, ...]]) -> None:
        self._options = options
        self._model_inputs = model_inputs

    def open(self) -> Pipeline:
        return TablePipeline(self._options, self._model_inputs)


def table(options: Mapping[str, Any], model_inputs: Callable[[], tuple[ModelInput, ...]]) -> TableWorkload:
    """Validate ``options`` and make the workload.

    Raises:
        ConfigurationError: An option is unknown, of the wrong type, or contradicts another.
    """
    try:
        return TableWorkload(TableOptions.model_validate(dict(options)), model_inputs)
    except ValidationError as error:
        raise ConfigurationError(
            explain_validation(error, "workload table"), hint="see `nervure agent run --help`"
        ) from error


def factory(config: WorkloadConfig) -> TableWorkload:
    """Make the workload from an agent's configuration: the entry point."""
    return table(config.options, config.model_inputs)


class TablePipeline:
    """One table being read.

    Args:
        options: As for the workload.
        model_inputs: As for the workload.

    Raises:
        InputError: The source cannot be opened, or is an empty file.
    """

    def __init__(self, options: TableOptions, model_inputs: Callable[[], tuple[ModelInput, ...]]) -> None:
        self._options = options
        self._model_inputs = model_inputs
        self._format = _format(options)
        self._lines = LineSource(options.input, quoted=self._format != "jsonl")
        self._columns: tuple[str, ...] = ()
        self._bound_to: tuple[ModelInput, ...] | None = None
        self._features: Callable[[Row], Features] | None = None
        self._rows = self._malformed = 0
        self._next_row_s = time.monotonic()

    def poll(self, limit: int) -> list[Observation] | None:
        inputs = self._model_inputs()
        if not inputs:
            return []
        lines = self._lines.read(self._paced(limit))
        if lines is None:
            return None
        observations: list[Observation] = []
        for line in lines:
            row = self._parse(line)
            if row is None:
                continue
            if inputs is not self._bound_to or self._features is None:
                from nervure_edge.workloads.table.binding import bind  # brings numpy: only with the first model

                self._features = bind(inputs, self._columns, self._binding())
                self._bound_to = inputs
            observation = self._observe(row, self._features)
            if observation is not None:
                observations.append(observation)
        return observations

    def close(self) -> None:
        self._lines.close()

    def stats(self) -> dict[str, int]:
        return {"rows": self._rows, "malformed": self._malformed + self._lines.too_long}

    def _paced(self, limit: int) -> int:
        pace = self._options.rows_per_s
        if not pace:
            return limit
        now = time.monotonic()
        if now < self._next_row_s:
            # The driver allows a short wait here; it is what keeps a paced table from spinning.
            time.sleep(min(self._next_row_s - now, 0.1))
            now = time.monotonic()
        due = max(min(int((now - self._next_row_s) * pace) + 1, limit), 1)
        self._next_row_s = max(self._next_row_s + due / pace, now - 1.0)
        return due

    def _parse(self, line: str) -> Row | None:
        try:
            if self._format == "auto":
                self._format = "jsonl" if line.lstrip().startswith("{") else "csv"
            row = _json_row(line) if self._format == "jsonl" else self._csv_row(line)
        except (ValueError, csv.Error) as error:
            self._rows += 1
            self._skip(error)
            return None
        if row is not None:
            self._rows += 1
            if not self._columns:
                self._columns = tuple(row)
                self._check_columns()
        return row

    def _skip(self, error: Exception) -> None:
        self._malformed += 1
        if self._malformed <= _LOGGED_ROWS:
            logger.warning(
                "%s: row %d is skipped: %s", self._lines.name, self._rows, str(error) or type(error).__name__
            )

    def _csv_row(self, line: str) -> Row | None:
        fields = next(csv.reader([line], delimiter=self._options.delimiter, strict=True))
        if not self._columns:
            if self._options.header:
                self._columns = tuple(name.strip() for name in fields)
                self._check_columns()
                return None
            self._columns = tuple(f"c{index}" for index in range(len(fields)))
            self._check_columns()
        if len(fields) != len(self._columns):
            raise ValueError(f"{len(fields)} fields, {len(self._columns)} columns")
        return dict(zip(self._columns, fields, strict=True))

    def _check_columns(self) -> None:
        options = self._options
        if not all(name.isprintable() for name in self._columns):
            raise InputError(f"{self._lines.name}: not a table, it is binary", hint="give CSV or JSON lines")
        for role, column in (("label", options.label), ("time", options.time), ("subject", options.subject)):
            if column is not None and column not in self._columns:
                raise InputError(
                    f"{self._lines.name}: no column {column!r}, which option {role} names",
                    hint=f"the columns are {', '.join(self._columns)}",
                )

    def _binding(self) -> BindingOptions:
        options = self._options
        inputs = {name: (value,) if isinstance(value, str) else value for name, value in options.inputs.items()}
        aside = frozenset(name for name in (options.label, options.time, options.subject) if name is not None)
        return BindingOptions(options.columns, inputs, aside, options.missing == "nan")

    def _observe(self, row: Row, features: Callable[[Row], Features]) -> Observation | None:
        options = self._options
        try:
            made = features(row)
            time_us = int(float(row[options.time]) * 1e6) if options.time else time.time_ns() // 1000
            truth = str(row[options.label]) if options.label else None
            subject = str(row[options.subject]) if options.subject else f"row-{self._rows}"
        except (MalformedRow, KeyError, ValueError, TypeError, OverflowError) as error:
            self._skip(error)
            return None
        detail = json.dumps(row, ensure_ascii=False, default=str)
        return Observation(time_us, subject, made, detail if len(detail) <= _MAX_DETAIL else "{}", truth)


def _format(options: TableOptions) -> str:
    if options.format != "auto" or options.input == "-":
        return options.format
    name = options.input.removesuffix(".gz").lower()
    if name.endswith((".jsonl", ".ndjson", ".json")):
        return "jsonl"
    return "csv" if name.endswith((".csv", ".tsv", ".txt")) else "auto"


def _json_row(line: str) -> Row:
    row: object = json.loads(line)
    if not isinstance(row, dict):
        raise ValueError("not an object")
    return row  # pyright: ignore[reportUnknownVariableType] - JSON objects have text keys by definition
