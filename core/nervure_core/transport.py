"""Channels and servers: the one place that knows gRPC's options and credentials.

Rules: both ends agree on keepalive (the server must allow what the client sends, else it answers GOAWAY
too_many_pings); a frame is 1 MiB at most, so the default limits stay; without certificates only a loopback address is
served in the clear unless the caller says otherwise.

Source: gRPC core, "Keepalive User Guide for gRPC Core" and channel_arg_names.h.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

from nervure_core.errors import ConfigurationError
from nervure_core.messages import MAX_FRAME_BYTES

_SLACK_BYTES = 64 * 1024
KEEPALIVE_S = 30
_COMMON: tuple[tuple[str, int], ...] = (
    ("grpc.keepalive_time_ms", KEEPALIVE_S * 1000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MAX_FRAME_BYTES + _SLACK_BYTES),
    ("grpc.max_send_message_length", MAX_FRAME_BYTES + _SLACK_BYTES),
)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files: roots to trust, own certificate chain, own key."""

    roots: Path
    certificate: Path
    key: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Return the contents in the order of the fields.

        Raises:
            ConfigurationError: A file can't be read.
        """
        contents: list[bytes] = []
        for path in (self.roots, self.certificate, self.key):
            try:
                contents.append(path.read_bytes())
            except OSError as error:
                raise ConfigurationError(
                    f"{path}: {error.strerror}", hint="check the TLS files in the configuration"
                ) from error
        return contents[0], contents[1], contents[2]


def channel(target: str, tls: TlsFiles | None = None) -> grpc.aio.Channel:
    """Return a channel to ``target`` (host:port); it connects when first used.

    Raises:
        ConfigurationError: A TLS file can't be read.
    """
    options = [*_COMMON, ("grpc.use_local_subchannel_pool", 1)]
    if tls is None:
        return grpc.aio.insecure_channel(target, options=options)
    roots, certificate, key = tls.read()
    return grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(roots, key, certificate), options=options)


def server(*, share_port: bool = False, max_streams: int = 20_000) -> grpc.aio.Server:
    """Return a server without a port; call it inside the running loop that will serve.

    Args:
        share_port: Several processes may then listen on one port (SO_REUSEPORT).
        max_streams: Streams of one connection.
    """
    options = [
        *_COMMON,
        ("grpc.so_reuseport", int(share_port)),
        ("grpc.max_concurrent_streams", max_streams),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", KEEPALIVE_S * 1000 // 2),
        ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_S * 1000 // 2),
        ("grpc.http2.max_ping_strikes", 5),
    ]
    return grpc.aio.server(options=options)


def listen(
    target: grpc.aio.Server, address: str, tls: TlsFiles | None = None, *, clear_beyond_loopback: bool = False
) -> int:
    """Bind ``target`` to ``address`` (host:port, port 0 picks one) and return the port; raises what grpc raises.

    Raises:
        ConfigurationError: There are no certificates and the address is not a loopback one.
        RuntimeError: The port is taken (grpc's own error).
    """
    if tls is not None:
        roots, certificate, key = tls.read()
        credentials = grpc.ssl_server_credentials([(key, certificate)], roots, require_client_auth=True)
        return target.add_secure_port(address, credentials)
    if not clear_beyond_loopback and not is_loopback(address):
        raise ConfigurationError(
            f"{address} is not a loopback address and there are no certificates",
            hint="give TLS files, or listen on 127.0.0.1",
        )
    return target.add_insecure_port(address)


def is_loopback(address: str) -> bool:
    """Return whether host:port can be reached from this machine only."""
    host = address.rsplit(":", 1)[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
