"""The processes a fleet is made of: started, watched, and stopped without leaving anything behind.

``child`` supervises any process, ``etcd`` runs a real etcd, ``ray_node`` holds one Ray runtime for all hubs.

>>> from nervure_simulations.servers import Supervisor, etcd_server  # doctest: +SKIP
>>> async with Supervisor(Path("out/logs")) as supervisor:  # doctest: +SKIP
...     etcd = await etcd_server(supervisor, data=Path("out/etcd"))
...     etcd.endpoint
'127.0.0.1:37291'
"""

from nervure_simulations.servers.child import Child, ChildError, ChildSpec, Supervisor, kill_now
from nervure_simulations.servers.etcd import EtcdServer, MissingEtcdError, etcd_server, find_etcd

__all__ = [
    "Child",
    "ChildError",
    "ChildSpec",
    "EtcdServer",
    "MissingEtcdError",
    "Supervisor",
    "etcd_server",
    "find_etcd",
    "kill_now",
]
