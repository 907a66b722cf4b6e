"""Rows of any table for any model."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nervure_core.errors import ConfigurationError, InputError
from nervure_edge.workloads import ModelInput, Observation, Pipeline, available_workloads
from nervure_edge.workloads.table.binding import bind
from nervure_edge.workloads.table.columns import BindingOptions, MalformedRow
from nervure_edge.workloads.table.lines import MAX_LINE_BYTES, LineSource
from nervure_edge.workloads.table.workload import table

VECTOR = (ModelInput("x", "float32", (None, 2)),)
MIXED = (
    ModelInput("name", "string", (None, 1)),
    ModelInput("age", "int64", (None, 1)),
    ModelInput("height", "float32", (None, 1)),
    ModelInput("member", "bool", (None,)),
)


def all_of(pipeline: Pipeline) -> list[Observation]:
    found: list[Observation] = []
    with contextlib.closing(pipeline):
        while (rows := pipeline.poll(100)) is not None:
            found += rows
    return found


def read(
    path: Path, wanted: tuple[ModelInput, ...] = VECTOR, /, **options: Any
) -> tuple[list[Observation], dict[str, int]]:
    pipeline = table({"input": str(path), **options}, lambda: wanted).open()
    return all_of(pipeline), pipeline.stats()


def test_a_vector_takes_the_columns_in_order_without_the_label(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,label,b\n1,yes,2\n3,no,4\n")
    found, stats = read(path, label="label")
    assert [row.features["x"].tolist() for row in found] == [[[1.0, 2.0]], [[3.0, 4.0]]]
    assert found[0].features["x"].dtype == np.float32
    assert [row.truth for row in found] == ["yes", "no"]
    assert stats == {"rows": 2, "malformed": 0}


def test_the_manifest_and_the_options_choose_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b,c\n1,2,3\n")
    named = (ModelInput("x", "float32", (None, 2), ("c", "a")),)
    assert read(path, named)[0][0].features["x"].tolist() == [[3.0, 1.0]]
    assert read(path, named, columns=["b", "b"])[0][0].features["x"].tolist() == [[2.0, 2.0]]
    assert read(path, VECTOR, inputs={"x": ["b", "c"]})[0][0].features["x"].tolist() == [[2.0, 3.0]]


def test_inputs_of_every_type_from_csv_and_json(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text('name,age,height,member\n"Ada, Countess",36,1.65,yes\n')
    lines = tmp_path / "rows.jsonl"
    lines.write_text(json.dumps({"name": "Ada, Countess", "age": 36, "height": 1.65, "member": True}) + "\n")
    for path in (rows, lines):
        (row,), _ = read(path, MIXED)
        assert row.features["name"].tolist() == [["Ada, Countess"]]
        assert row.features["age"].dtype == np.int64
        assert row.features["member"].tolist() == [True]
        assert json.loads(row.detail)["name"] == "Ada, Countess"


def test_malformed_rows_are_counted_and_skipped(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text('a,b\n1,2\n1\n1,2,3\nx,2\n,2\n"open,2\n')
    found, stats = read(rows)
    assert len(found) == 1
    assert stats == {"rows": 6, "malformed": 5}
    lines = tmp_path / "rows.jsonl"
    lines.write_text(
        '{"a": 1, "b": 2}\nnot json\n[1]\n{"a": 1}\n{"a": null, "b": 2}\n{"a": 1, "b": {}}\n{"b": 4, "a": 3}\n'
    )
    found, stats = read(lines)
    assert [row.features["x"].tolist() for row in found] == [[[1.0, 2.0]], [[3.0, 4.0]]]
    assert stats["malformed"] == 5


def test_missing_values_can_be_not_a_number(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n,2\n")
    (row,), stats = read(path, missing="nan")
    assert np.isnan(row.features["x"][0, 0])
    assert stats["malformed"] == 0


def test_quoted_line_breaks_gzip_and_headerless(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(b'1,1,"2\n"\n3,3,4\n'))
    found, _ = read(path, header=False, subject="c0")
    assert [row.subject for row in found] == ["1", "3"]
    assert found[0].features["x"].tolist() == [[1.0, 2.0]]


def test_time_and_subject_columns(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("when,who,a,b\n1.5,me,1,2\n")
    (row,), _ = read(path, time="when", subject="who")
    assert (row.time_us, row.subject) == (1_500_000, "me")


def test_no_model_no_rows_and_a_changed_model_is_bound_anew(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n3,4\n")
    inputs: list[tuple[ModelInput, ...]] = [()]
    pipeline = table({"input": str(path)}, lambda: inputs[0]).open()
    assert pipeline.poll(10) == []
    inputs[0] = VECTOR
    assert pipeline.poll(1) == []  # the header
    assert len(pipeline.poll(1) or []) == 1
    inputs[0] = (ModelInput("b", "float32", (None, 1)),)
    (row,) = pipeline.poll(1) or []
    assert row.features["b"].tolist() == [[4.0]]
    assert pipeline.poll(1) is None
    pipeline.close()


def test_a_pipe_is_read_as_it_comes(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = os.open(path, os.O_RDWR)
    pipeline = table({"input": str(path), "format": "csv"}, lambda: VECTOR).open()
    os.write(writer, b"a,b\n1,2\n3,")
    assert [row.subject for row in pipeline.poll(10) or []] == ["row-1"]
    assert pipeline.poll(10) == []
    os.write(writer, b"4\n")
    assert [row.features["x"].tolist() for row in pipeline.poll(10) or []] == [[[3.0, 4.0]]]
    os.close(writer)
    assert pipeline.poll(10) is None
    pipeline.close()


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        ((ModelInput("z", "float32", (None, 1)),), {}, "wants column 'z'"),
        ((ModelInput("x", "float32", (None, 3)),), {}, "wants column 'x_0'"),
        (VECTOR, {"columns": ["a"]}, "takes 2 values, 1 columns"),
        (VECTOR, {"columns": ["a", "q"]}, "'q'"),
        (VECTOR, {"inputs": {"nope": "a"}}, "nope"),
        (VECTOR, {"label": "species"}, "no column 'species'"),
        ((ModelInput("a", "complex64", (None, 1)),), {}, "complex64"),
    ],
)
def test_what_cannot_be_bound_is_named(
    tmp_path: Path, inputs: tuple[ModelInput, ...], options: dict[str, Any], message: str
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=message):
        read(path, inputs, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input": "x", "delimeter": ";"}, "delimeter"),
        ({}, "input"),
        ({"input": "x", "columns": ["a"], "inputs": {"x": "a"}}, "contradict"),
        ({"input": "x", "rows_per_s": -1}, "rows_per_s"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        table(options, tuple)


def test_a_source_that_is_not_there_or_torn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        table({"input": str(tmp_path / "nowhere.csv")}, lambda: VECTOR).open()
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InputError, match="it is empty"):
        read(tmp_path / "empty.csv")
    (tmp_path / "binary.csv").write_bytes(b"\x7fELF\x02\x01\x00,\x01\n1,2\n")
    with pytest.raises(InputError, match="it is binary"):
        read(tmp_path / "binary.csv")
    torn = tmp_path / "torn.csv.gz"
    torn.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * 1000)[:-20])
    with pytest.raises(InputError, match="torn"):
        read(torn)


def test_an_endless_line_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\n" + b"1" * (MAX_LINE_BYTES * 2) + b"\n3,4\n")
    found, stats = read(path)
    assert len(found) == 1
    assert stats["malformed"] == 1


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_any_bytes_are_rows_or_counted(tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_bytes(b"a,b\n" + b"\n".join(chunks) + b"\n1,2\n")
    found, stats = read(path)
    assert stats["rows"] >= len(found)
    assert stats["rows"] + 0 == len(found) + stats["malformed"]


@given(st.lists(st.text(alphabet='ab",\n', max_size=8), min_size=1, max_size=8))
def test_lines_do_not_depend_on_where_reads_end(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    path = tmp_path_factory.mktemp("lines") / "x.csv"
    path.write_text("a" + "\n".join(texts))  # an empty file is refused
    whole = LineSource(str(path), quoted=True)
    one_by_one = LineSource(str(path), quoted=True)
    all_at_once = whole.read(1000) or []
    singly: list[str] = []
    while (line := one_by_one.read(1)) is not None:
        singly += line
    assert singly == all_at_once
    whole.close()
    one_by_one.close()


def test_binding_reports_a_bad_value() -> None:
    make = bind(MIXED, ["name", "age", "height", "member"], BindingOptions())
    good = {"name": "n", "age": "1", "height": "2", "member": "no"}
    for column, value in (("age", "1.5"), ("member", "perhaps"), ("height", "tall"), ("name", None)):
        with pytest.raises(MalformedRow):
            make({**good, column: value})


def test_the_entry_points_are_installed() -> None:
    assert {"table", "network"} <= set(available_workloads())
