from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.ray import RayServer


@pytest.fixture(scope="session")
def ray_server() -> Iterator[RayServer]:
    """Ray takes seconds to start, so all tests share one; each connects to it and leaves it again."""
    with RayServer.start() as server:
        yield server
