"""``weights.bin`` to arrays and back, by the layout in the manifest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from nervure_core.bundle.manifest import Manifest, TensorLayout
from nervure_core.errors import InputError
from nervure_core.tensors import Arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_ALIGN = 64


def layout_of(tensors: Iterable[tuple[str, NDArray[np.generic]]]) -> tuple[TensorLayout, ...]:
    """Return a layout for named tensors: in order, each aligned to 64 bytes."""
    found: list[TensorLayout] = []
    offset = 0
    for name, array in tensors:
        found.append(
            TensorLayout(name=name, dtype=array.dtype.name, shape=array.shape, offset=offset, length=array.nbytes)
        )
        offset += math.ceil(array.nbytes / _ALIGN) * _ALIGN
    return tuple(found)


def weights_to_arrays(manifest: Manifest, data: bytes) -> Arrays:
    """Return the tensors of ``weights.bin``, each a copy of its own, by name in the order of the layout.

    Raises:
        InputError: The file is shorter than its layout.
    """
    import numpy as np  # not above: reading a manifest needs none of it

    arrays: Arrays = {}
    for item in manifest.tensors:
        dtype = np.dtype(item.dtype).newbyteorder("<")
        if item.offset + item.length > len(data) or math.prod(item.shape) * dtype.itemsize != item.length:
            raise InputError(
                f"weights of {manifest.name}@{manifest.release}: tensor {item.name!r} lies outside the file"
            )
        raw = np.frombuffer(data, dtype, count=math.prod(item.shape), offset=item.offset)
        arrays[item.name] = raw.reshape(item.shape).astype(np.dtype(item.dtype), copy=True)
    return arrays


def arrays_to_weights(manifest: Manifest, arrays: Mapping[str, NDArray[np.generic]]) -> bytes:
    """Return ``weights.bin`` for exactly the tensors of the layout.

    Raises:
        InputError: A tensor is missing, unknown, of another shape or dtype, or not finite.
    """
    import numpy as np

    expected = {item.name for item in manifest.tensors}
    if expected != set(arrays):
        raise InputError(
            f"weights for {manifest.name}: missing {sorted(expected - set(arrays))}, unknown {sorted(set(arrays) - expected)}"
        )
    data = bytearray(max((item.offset + item.length for item in manifest.tensors), default=0))
    for item in manifest.tensors:
        array = arrays[item.name]
        if array.shape != item.shape or array.dtype.name != item.dtype:
            raise InputError(
                f"weights for {manifest.name}: tensor {item.name!r} is {array.dtype}{list(array.shape)}, "
                f"not {item.dtype}{list(item.shape)}"
            )
        if array.dtype.kind == "f" and not np.isfinite(array.astype(np.float64)).all():
            raise InputError(f"weights for {manifest.name}: tensor {item.name!r} is not finite")
        data[item.offset : item.offset + item.length] = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return bytes(data)
