"""Holding a port that several gateways share, and saying clearly when it is taken.

Rules: with SO_REUSEPORT the kernel would let a second hub of the same user listen on our port and take half of our
agents, so a port is first bound alone; then it is held by a socket that never listens, for as long as the hub lives: a
gateway that restarts finds its port free, and port 0 means the same port for all gateways.

>>> with PortHold("127.0.0.1", 0) as hold:
...     hold.port > 0
True
"""

from __future__ import annotations

import socket
from typing import Self

from nervure_core.errors import WorldError


class PortHold:
    """A port kept for this hub.

    Args:
        host: Address.
        port: Port; 0 takes a free one.
        flag: The option that chooses it, for the message.

    Raises:
        WorldError: It is taken, or not ours to use.
    """

    def __init__(self, host: str, port: int, *, flag: str = "--port") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with bind_tcp(host, port, flag=flag) as probe:
            self.port: int = probe.getsockname()[1]
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            self._socket.bind((host, self.port))
        except OSError as error:
            self._socket.close()
            raise _taken(host, self.port, flag, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()


def bind_tcp(host: str, port: int, *, flag: str) -> socket.socket:
    """Return a bound socket that shares its port with nobody.

    Raises:
        WorldError: The port is taken, or not ours to use.
    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    # Without it a port stays taken for a minute after its last connections closed.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        # A bind beside a listener can succeed with SO_REUSEADDR; listening can't.
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise _taken(host, port, flag, error) from error
    return bound


def _taken(host: str, port: int, flag: str, error: OSError) -> WorldError:
    return WorldError(
        f"can't listen on {host}:{port}: {error.strerror}",
        hint=f"choose another port with {flag}, or stop what uses it (`ss -ltnp` shows it)",
    )
