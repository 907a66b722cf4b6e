"""The hub's API as commands see it: JSON in, JSON out, and the hub's errors as errors of the same family.

>>> with Api("http://127.0.0.1:7444") as api:
...     api.get("/v1/rounds")["runs"]
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import click

from nervure_core.errors import ConfigurationError, InputError, NervureError, PeerError, WorldError

Command = TypeVar("Command", bound=Callable[..., Any])
DEFAULT_API = "http://127.0.0.1:7444"
TIMEOUT_S = 30.0


def api_option(function: Command) -> Command:
    """Add ``--api``, the address of any hub's API."""
    return click.option(
        "--api",
        envvar="NERVURE_API",
        default=DEFAULT_API,
        show_default=True,
        metavar="URL",
        help="API of a hub; any hub will do. Environment: NERVURE_API.",
    )(function)


class Api:
    """A hub's API.

    Args:
        url: Where it is, ``http://host:port``.

    Raises:
        ConfigurationError: The address is none.
    """

    def __init__(self, url: str) -> None:
        import httpx

        if not url.startswith(("http://", "https://")):
            raise ConfigurationError(f"--api {url!r} is no address", hint=f"such as {DEFAULT_API}")
        self._url = url
        self._client = httpx.Client(base_url=url, timeout=TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """Return what a route answers."""
        return self._call("GET", path, None)

    def post(self, path: str, body: Any) -> dict[str, Any]:
        """Send a body and return what the route answers."""
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: Any) -> dict[str, Any]:
        """Call a route.

        Raises:
            WorldError: No hub answers there, or it failed.
            ConfigurationError, InputError: The hub refused the request; its own words.
            PeerError: What answers is no hub.
        """
        import httpx

        try:
            answer = self._client.request(method, path, json=body)
        except httpx.HTTPError as error:
            raise WorldError(
                f"no hub answers at {self._url}: {error}", hint="start one with `nervure hub up`, or give --api"
            ) from error
        try:
            data = answer.json()
        except ValueError as error:
            raise PeerError(f"what answers at {self._url} is no hub (HTTP {answer.status_code})") from error
        if answer.is_success and isinstance(data, dict):
            return data
        raise _refusal(answer.status_code, data, self._url)


def _refusal(status: int, data: Any, url: str) -> NervureError:
    told = data.get("error") if isinstance(data, dict) else None
    if not isinstance(told, dict):
        return PeerError(f"what answers at {url} is no hub (HTTP {status})")
    family = ConfigurationError if status == 422 else InputError if status < 500 else WorldError
    return family(str(told.get("message", "")), hint=str(told.get("hint", "")))
