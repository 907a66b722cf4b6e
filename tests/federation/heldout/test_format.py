"""A held-out set as bytes: what is written is read, and everything else is refused with its name."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.lib import format as npy

from nervure_core.errors import InputError
from nervure_federation.heldout import MAX_SITES, HeldoutUnusable, check_sets, pack_heldout, read_heldout

X = np.arange(12, dtype=np.float32).reshape(4, 3)
Y = np.array([0, 1, 1, 0], np.int64)
GOOD = pack_heldout(X, Y)


def npz(**content: Any) -> bytes:
    sink = io.BytesIO()
    np.savez_compressed(sink, **content)
    return sink.getvalue()


def zipped(**members: bytes) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return sink.getvalue()


def array(shape: tuple[int, ...], descr: str, content: bytes) -> bytes:
    sink = io.BytesIO()
    npy.write_array_header_1_0(sink, {"descr": descr, "fortran_order": False, "shape": shape})
    return sink.getvalue() + content


@given(st.integers(1, 30), st.integers(1, 5), st.data())
def test_what_is_packed_is_read(rows: int, columns: int, data: st.DataObject) -> None:
    x = data.draw(arrays.arrays(np.float32, (rows, columns)))
    y = data.draw(arrays.arrays(np.int64, rows, elements=st.integers(0, 9)))
    read_x, read_y = read_heldout(pack_heldout(x, y), "a/b")
    np.testing.assert_array_equal(read_x, x)
    np.testing.assert_array_equal(read_y, y)
    assert (read_x.dtype, read_y.dtype) == (X.dtype, Y.dtype)
    assert pack_heldout(x, y) == pack_heldout(x, y)


def test_column_order_is_no_matter() -> None:
    x, _ = read_heldout(npz(x=np.asfortranarray(X), y=Y), "a/b")
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no npz"),
        (b"not a zip", "no npz"),
        (GOOD[:-30], "no npz"),
        (npz(x=X), "no npz"),
        (npz(x=X.astype(np.float64), y=Y), "x is float64, wanted is float32"),
        (npz(x=X, y=Y.astype(np.int32)), "y is int32, wanted is int64"),
        (npz(x=X, y=Y[:3]), r"x has shape \(4, 3\) and y \(3,\)"),
        (npz(x=X[:, 0], y=Y), r"x has shape \(4,\)"),
        (npz(x=X, y=Y[:, None]), r"y \(4, 1\)"),
        (npz(x=X[:0], y=Y[:0]), "holds no rows"),
        (npz(x=X, y=Y - 1), "y has -1"),
        (npz(x=np.array([[{}]], object), y=Y[:1]), "x is object"),
        (zipped(x=b"\x93NUMPY\x09\x00", y=b""), "version"),
        (zipped(x=array((10**12, 3), "<f4", b"1234"), y=array((4,), "<i8", b"")), "announces shape"),
        (zipped(x=array((-1, -1), "<f4", b"1234"), y=array((1,), "<i8", bytes(8))), "no npz"),
    ],
)
def test_what_is_no_set_is_named(data: bytes, said: str) -> None:
    with pytest.raises(HeldoutUnusable, match=said) as caught:
        read_heldout(data, "europe/hall")
    assert caught.value.message.startswith("held-out set europe/hall: ")


@given(st.binary(max_size=200), st.integers(0, len(GOOD)))
def test_damage_is_an_error_of_ours(noise: bytes, at: int) -> None:
    damaged = GOOD[:at] + noise + GOOD[at + len(noise) :]
    try:
        x, y = read_heldout(damaged, "a/b")
    except HeldoutUnusable:
        return
    assert len(x) == len(y)


def test_a_bomb_is_not_unpacked() -> None:
    bomb = npz(x=np.zeros((1_000_000, 8), np.float32), y=np.zeros(1_000_000, np.int64))
    assert len(bomb) < 100_000
    tracemalloc.start()
    with pytest.raises(HeldoutUnusable, match="1,000,000 are allowed"):
        read_heldout(bomb, "a/b", limit_bytes=1_000_000)
    # One that lies about its size is cut where it said that it ends.
    lying = _with_sizes(bomb, 4096)
    with pytest.raises(HeldoutUnusable):
        read_heldout(lying, "a/b", limit_bytes=1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


def test_sets_are_described() -> None:
    (first, second) = check_sets({"europe/hall": GOOD, "asia/port": pack_heldout(X[:2], Y[:2])})
    assert (first.region, first.site, first.rows, first.positives, first.features) == ("asia", "port", 2, 1, 3)
    assert (second.site, second.unpacked_bytes) == ("hall", X.nbytes + Y.nbytes)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ({}, "no held-out sets to store"),
        ({f"a/s{index}": b"" for index in range(MAX_SITES + 1)}, "more than one name holds"),
        ({"hall": GOOD}, "'hall' is not called REGION/SITE"),
        ({"europe/../hall": GOOD}, "is not called REGION/SITE"),
        ({"/hall": GOOD}, "is not called REGION/SITE"),
        ({"Europe/hall": GOOD}, "is not called REGION/SITE: region 'Europe'"),
        ({"a/one": GOOD, "a/two": pack_heldout(X[:, :2], Y)}, "a/two: x has 2 columns, that of a/one has 3"),
        ({"a/one": GOOD, "a/two": b"no"}, "a/two: is no npz"),
    ],
)
def test_sets_that_do_not_belong_together_are_named(sets: dict[str, bytes], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_sets(sets)


def _with_sizes(data: bytes, size: int) -> bytes:
    """Return an archive whose directory says that every member unpacks to ``size`` bytes."""
    found = bytearray(data)
    at = found.find(b"PK\x01\x02")
    while at >= 0:
        found[at + 24 : at + 28] = size.to_bytes(4, "little")
        at = found.find(b"PK\x01\x02", at + 4)
    return bytes(found)
