"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real captures and flow tables that may not be shipped; tests that need them are skipped where they are absent."""
    folder = Path(os.environ.get("NERVURE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set NERVURE_DATA to the folder that holds nsl-kdd, iot-23 and pcaps")
    return folder
