"""One held-out set as bytes: an npz file with ``x`` and ``y``, made and read with nothing trusted.

>>> data = pack_heldout(np.zeros((2, 3), np.float32), np.array([0, 1]))
>>> x, y = read_heldout(data, "europe/hall")
>>> x.shape, y.tolist()
((2, 3), [0, 1])
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nervure_core.errors import ConfigurationError, InputError
from nervure_core.ids import check_name

MAX_HELDOUT_BYTES = 256 << 20
"""What all sets of one name may hold together, unpacked: about a million flows. The judge keeps them in memory."""
MAX_SITES = 1000

_DTYPES = {"x": np.dtype(np.float32), "y": np.dtype(np.int64)}
# What zipfile, zlib and numpy raise on bytes that are not theirs.
_DAMAGED = (
    zipfile.BadZipFile, zlib.error, struct.error, KeyError, ValueError, OverflowError, EOFError, OSError, RuntimeError,
)  # fmt: skip
_NPY_VERSIONS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class HeldoutUnusable(InputError):
    """A held-out set is not what it has to be.

    Attributes:
        name: Which one, as the message calls it.
    """

    code = "heldout-unusable"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"held-out set {name}: {reason}",
            hint="a set is an npz file with x float32 [n, F] and y int64 [n]; `nervure sites heldout` makes such",
        )
        self.name = name


@dataclass(frozen=True, slots=True)
class HeldoutSite:
    """What one set holds."""

    region: str
    site: str
    rows: int
    positives: int
    """Rows whose label is not 0."""
    features: int
    unpacked_bytes: int


def pack_heldout(x: NDArray[np.float32], y: NDArray[np.int64]) -> bytes:
    """Return a set as bytes; the same arrays give the same bytes."""
    out = io.BytesIO()
    np.savez_compressed(out, x=x.astype(np.float32, copy=False), y=y.astype(np.int64, copy=False))
    return out.getvalue()


def read_heldout(
    data: bytes, name: str, *, limit_bytes: int = MAX_HELDOUT_BYTES
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read one set.

    Args:
        data: The npz file.
        name: What errors call it.
        limit_bytes: It may unpack to this.

    Raises:
        HeldoutUnusable: It is no npz with ``x`` and ``y`` of the right dtypes and shapes, or it is too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(archive.getinfo(f"{key}.npy").file_size for key in _DTYPES)
            if size > limit_bytes:
                raise HeldoutUnusable(name, f"unpacks to {size:,} bytes, {limit_bytes:,} are allowed")
            x = _array(_member(archive, "x.npy"), name, "x").view(np.float32)
            y = _array(_member(archive, "y.npy"), name, "y").view(np.int64)
    except _DAMAGED as error:
        raise HeldoutUnusable(name, f"is no npz with x and y ({_reason(error)})") from error
    if x.ndim != 2 or y.ndim != 1 or len(x) != len(y):
        raise HeldoutUnusable(name, f"x has shape {x.shape} and y {y.shape}, wanted are [n, F] and [n]")
    if not len(y):
        raise HeldoutUnusable(name, "holds no rows")
    if y.min() < 0:
        raise HeldoutUnusable(name, f"y has {y.min()}: every row needs its true label, the index of a class")
    return x, y


def check_sets(sets: Mapping[str, bytes]) -> list[HeldoutSite]:
    """Check sets that are to be stored together, and return what each holds.

    Args:
        sets: The files by ``region/site``.

    Raises:
        InputError: There is none, there are too many, one is called or made otherwise than it should be, or they are not alike.
    """
    if not sets:
        raise InputError("there are no held-out sets to store", hint="give files called REGION/SITE.npz")
    if len(sets) > MAX_SITES:
        raise InputError(f"{len(sets)} held-out sets are more than one name holds ({MAX_SITES})")
    sites: list[HeldoutSite] = []
    left = MAX_HELDOUT_BYTES
    for name in sorted(sets):
        region, site = _names(name)
        x, y = read_heldout(sets[name], name, limit_bytes=left)
        found = HeldoutSite(region, site, len(y), int((y != 0).sum()), x.shape[1], x.nbytes + y.nbytes)
        left -= found.unpacked_bytes
        if found.features != (sites or [found])[0].features:
            first = sites[0]
            raise HeldoutUnusable(
                name, f"x has {found.features} columns, that of {first.region}/{first.site} has {first.features}"
            )
        sites.append(found)
    return sites


def _names(name: str) -> tuple[str, str]:
    region, slash, site = name.partition("/")
    try:
        if not slash:
            raise ConfigurationError(f"{name!r} has no region")
        return check_name("region", region), check_name("site", site)
    except ConfigurationError as error:
        raise InputError(
            f"held-out set {name[:200]!r} is not called REGION/SITE: {error.message}", hint=error.hint
        ) from error


def _member(archive: zipfile.ZipFile, key: str) -> bytes:
    info = archive.getinfo(key)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"compression {info.compress_type}")
    with archive.open(info) as file:
        # With its size, for what a small archive may unpack to is otherwise in memory before zipfile cuts it.
        return file.read(info.file_size)


def _array(data: bytes, name: str, key: str) -> NDArray[np.generic]:
    # Header first: numpy would allocate what it announces before it finds that the file is shorter.
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    if version not in _NPY_VERSIONS:
        raise ValueError(f"version {version} of npy")
    shape, fortran, dtype = _NPY_VERSIONS[version](file)
    if dtype != _DTYPES[key]:
        raise HeldoutUnusable(name, f"{key} is {dtype}, wanted is {_DTYPES[key]}")
    if math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"{key} announces shape {shape}, but has {len(data) - file.tell()} bytes")
    flat = np.frombuffer(data, dtype, offset=file.tell())
    return np.ascontiguousarray(flat.reshape(shape, order="F" if fortran else "C"))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
