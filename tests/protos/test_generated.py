"""The checked-in code of the wire contract is what its .proto files say, and Flower's field numbers are ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from flwr.proto import recorddict_pb2
from google.protobuf.descriptor import Descriptor

from nervure.v1 import tasks_pb2


def test_nothing_generated_is_stale(root: Path) -> None:
    done = subprocess.run(
        [sys.executable, "protos/generate.py", "--check"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def fields(message: Descriptor) -> dict[str, object]:
    """Return every field by name with its number and type, through all messages below."""
    return {
        field.name: (field.number, field.type, fields(field.message_type) if field.message_type else None)
        for field in message.fields
    }


def test_the_content_of_a_task_has_flowers_field_numbers() -> None:
    assert fields(tasks_pb2.RecordDict.DESCRIPTOR) == fields(recorddict_pb2.RecordDict.DESCRIPTOR)
