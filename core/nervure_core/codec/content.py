"""Contents of tasks: records of tensors, numbers and settings as bytes, whole or in parts.

Rules: field numbers equal Flower's RecordDict; a tensor's data is an NPY file (numpy format 1.0) that may not hold
Python objects; sizes are checked before anything is allocated.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

from google.protobuf.message import DecodeError

from nervure.v1 import tasks_pb2 as pb
from nervure_core.codec.shared import MalformedFrame
from nervure_core.messages import MAX_PART_BYTES, TaskPart
from nervure_core.tensors import MAX_CONTENT_BYTES, Arrays, ConfigValue, MetricValue, TaskContent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STYPE = "numpy.ndarray"
_MAX_TENSORS = 4096
_DTYPES = frozenset(
    ("bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64")
)
MAX_INLINE_BYTES = 512 * 1024
"""Contents up to this size travel inside the order or result frame."""


def split_content(task_id: str, content: bytes) -> list[TaskPart]:
    """Return the parts of a content that does not fit its frame; none when it does."""
    if len(content) <= MAX_INLINE_BYTES:
        return []
    starts = range(0, len(content), MAX_PART_BYTES)
    return [TaskPart(task_id, index, content[start : start + MAX_PART_BYTES]) for index, start in enumerate(starts)]


def join_parts(parts: Sequence[TaskPart], expected: int) -> bytes:
    """Return the content of parts that came in order.

    Raises:
        MalformedFrame: A part is missing or out of order, or the whole is too large.
    """
    if [part.index for part in parts] != list(range(expected)):
        raise MalformedFrame(f"parts {[part.index for part in parts][:8]} do not make {expected} in order")
    if sum(len(part.data) for part in parts) > MAX_CONTENT_BYTES:
        raise MalformedFrame(f"content is larger than {MAX_CONTENT_BYTES} bytes")
    return b"".join(part.data for part in parts)


def encode_content(content: TaskContent) -> bytes:
    """Return the bytes of a content.

    Raises:
        ValueError: It is larger than 64 MiB, or a value has a type that the wire has no field for.
    """
    record = pb.RecordDict()
    for key, arrays in content.arrays.items():
        items = record.items.add(key=key).array_record.items
        for name, array in arrays.items():
            items.add(key=name).value.CopyFrom(_array_to_pb(array))
        if not arrays:
            record.items[-1].array_record.SetInParent()
    for key, metrics in content.metrics.items():
        item = record.items.add(key=key)
        item.metric_record.SetInParent()
        for name, metric in metrics.items():
            _metric_to_pb(item.metric_record.items.add(key=name).value, name, metric)
    for key, config in content.configs.items():
        item = record.items.add(key=key)
        item.config_record.SetInParent()
        for name, setting in config.items():
            _config_to_pb(item.config_record.items.add(key=name).value, name, setting)
    if record.ByteSize() > MAX_CONTENT_BYTES:
        raise ValueError(f"content of {record.ByteSize()} bytes is larger than {MAX_CONTENT_BYTES}")
    return record.SerializeToString()


def decode_content(data: bytes) -> TaskContent:
    """Return the content of bytes from a peer.

    Raises:
        MalformedFrame: The bytes are no content, a name comes twice, or a tensor's data does not match its header.
    """
    if len(data) > MAX_CONTENT_BYTES:
        raise MalformedFrame(f"content of {len(data)} bytes is larger than {MAX_CONTENT_BYTES}")
    record = pb.RecordDict()
    try:
        record.ParseFromString(data)
    except DecodeError as error:
        raise MalformedFrame(f"{len(data)} bytes are no content of a task") from error
    content = TaskContent()
    for item in record.items:
        match item.WhichOneof("value"):
            case "array_record":
                if len(item.array_record.items) > _MAX_TENSORS:
                    raise MalformedFrame(f"record {item.key!r} has {len(item.array_record.items)} tensors")
                arrays: Arrays = {
                    entry.key: _array_from_pb(entry.key, entry.value) for entry in item.array_record.items
                }
                _once(item.key, arrays, item.array_record.items)
                content.arrays[item.key] = arrays
            case "metric_record":
                metrics = {
                    entry.key: cast("MetricValue", _value(entry.key, entry.value)) for entry in item.metric_record.items
                }
                _once(item.key, metrics, item.metric_record.items)
                content.metrics[item.key] = metrics
            case "config_record":
                config = {entry.key: _value(entry.key, entry.value) for entry in item.config_record.items}
                _once(item.key, config, item.config_record.items)
                content.configs[item.key] = config
            case None:
                raise MalformedFrame(f"record {item.key!r} is of an unknown kind")
    return content


def _once(key: str, names: Iterable[str], items: Sequence[object]) -> None:
    if len(list(names)) != len(items):
        raise MalformedFrame(f"record {key!r} has a name twice")


def _array_to_pb(array: NDArray[np.generic]) -> pb.Array:
    import numpy as np  # here and below: an agent without a model never gets this far, and need not carry it

    if array.dtype.name not in _DTYPES:
        raise ValueError(f"tensors of dtype {array.dtype} do not travel")
    sink = io.BytesIO()
    np.save(sink, np.ascontiguousarray(array).reshape(array.shape), allow_pickle=False)
    return pb.Array(dtype=array.dtype.name, shape=array.shape, stype=_STYPE, data=sink.getvalue())


def _array_from_pb(name: str, array: pb.Array) -> NDArray[np.generic]:
    import numpy as np

    if array.stype != _STYPE:
        raise MalformedFrame(f"tensor {name!r} is coded as {array.stype!r}, not {_STYPE!r}")
    if array.dtype not in _DTYPES or any(extent < 0 for extent in array.shape):
        raise MalformedFrame(f"tensor {name!r} has dtype {array.dtype!r} and shape {list(array.shape)}")
    size = math.prod(array.shape) * np.dtype(array.dtype).itemsize
    if size > len(array.data):
        raise MalformedFrame(f"tensor {name!r} announces {size} bytes and brings {len(array.data)}")
    try:
        value = np.load(io.BytesIO(array.data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise MalformedFrame(f"tensor {name!r} is no NPY data: {error}") from error
    if not isinstance(value, np.ndarray) or value.dtype != array.dtype or value.shape != tuple(array.shape):
        raise MalformedFrame(f"tensor {name!r} is not what its header says")
    return cast("NDArray[np.generic]", value)


def _metric_to_pb(target: pb.MetricRecordValue, name: str, value: MetricValue) -> None:
    if isinstance(value, list):
        if all(isinstance(item, int) for item in value):
            target.sint_list.SetInParent()
            target.sint_list.vals.extend(cast("list[int]", value))
        else:
            target.double_list.vals.extend(value)
    elif isinstance(value, float):
        target.double = value
    elif -(1 << 63) <= value < 1 << 63:
        target.sint64 = value
    else:
        raise ValueError(f"metric {name!r} does not fit 64 bits")


def _config_to_pb(target: pb.ConfigRecordValue, name: str, value: ConfigValue) -> None:
    match value:
        case bool():
            target.bool = value
        case int():
            if not -(1 << 63) <= value < 1 << 63:
                raise ValueError(f"setting {name!r} does not fit 64 bits")
            target.sint64 = value
        case float():
            target.double = value
        case str():
            target.string = value
        case bytes():
            target.bytes = value
        case list():
            _list_to_pb(target, name, value)


def _list_to_pb(
    target: pb.ConfigRecordValue, name: str, value: list[bool] | list[int] | list[float] | list[str] | list[bytes]
) -> None:
    kinds = {type(item) for item in value}
    if kinds <= {bool} and kinds:
        target.bool_list.vals.extend(cast("list[bool]", value))
    elif kinds <= {int}:
        target.sint_list.SetInParent()
        target.sint_list.vals.extend(cast("list[int]", value))
    elif kinds <= {int, float}:
        target.double_list.vals.extend(cast("list[float]", value))
    elif kinds == {str}:
        target.string_list.vals.extend(cast("list[str]", value))
    elif kinds == {bytes}:
        target.bytes_list.vals.extend(cast("list[bytes]", value))
    else:
        raise ValueError(f"setting {name!r} mixes types in a list")


def _value(name: str, value: pb.MetricRecordValue | pb.ConfigRecordValue) -> ConfigValue:
    kind = value.WhichOneof("value")
    if kind is None:
        raise MalformedFrame(f"value {name!r} is of an unknown kind")
    found = getattr(value, kind)
    return list(found.vals) if kind.endswith("_list") else cast("ConfigValue", found)
