"""Fixtures that several folders of tests share."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# How property tests run unless one says otherwise: no deadline for an example, no complaint about slowness, since the
# machine may be busy with other things. New examples in every run.
settings.register_profile(
    "busy", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("busy")

# Read by Ray once, when it is imported: a secret of this run's, so that what we start shares it and the account's own
# token is neither read nor made.
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


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
