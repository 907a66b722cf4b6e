"""How a command talks to a hub: HTTP, with every failure turned into one clear error.

Rules
    1. The status decides the family, and so the exit code: what the user can change (2, 3), the hub at fault (4), the
       world at fault (5). The hub's own code, message and hint are passed on as they are.
    2. Nothing is repeated: a person or a script decides that.
    3. A proxy from the environment is not asked for an address of this machine.

>>> with Api("http://127.0.0.1:7444") as api:
...     api.get("/v1/devices", {"state": "live"})["devices"]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import urlsplit

import click

from nervure_core.errors import ConfigurationError, InputError, NervureError, PeerError, WorldError

if TYPE_CHECKING:
    import httpx  # 80 ms at run time, which `--help` doesn't need

DEFAULT_API = "http://127.0.0.1:7444"
CONNECT_S = 5.0
ANSWER_S = 120.0

_FAMILIES: Mapping[int, type[NervureError]] = {
    HTTPStatus.UNPROCESSABLE_ENTITY: ConfigurationError,
    HTTPStatus.BAD_GATEWAY: PeerError,
    HTTPStatus.SERVICE_UNAVAILABLE: WorldError,
    HTTPStatus.GATEWAY_TIMEOUT: WorldError,
}
_F = TypeVar("_F", bound=Callable[..., Any])


class ApiUnreachable(WorldError):
    """No hub answers at the address."""

    code = "api-unreachable"


def api_option(function: _F) -> _F:
    """Add ``--api`` as the parameter ``api``."""
    return click.option(
        "--api",
        envvar="NERVURE_API",
        default=DEFAULT_API,
        show_default=True,
        show_envvar=True,
        metavar="URL",
        help="Address of a hub's API.",
    )(function)


class Api:
    """One hub's API.

    Args:
        url: Its address, such as ``http://127.0.0.1:7444``.

    Raises:
        ConfigurationError: The address is no HTTP URL.
    """

    def __init__(self, url: str) -> None:
        import httpx

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError(f"API address {url!r} is not a URL", hint=f"for example --api {DEFAULT_API}")
        self.url = url.rstrip("/")
        local = parts.hostname in ("127.0.0.1", "::1", "localhost")
        self._client = httpx.Client(
            base_url=self.url, timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S), trust_env=not local
        )

    def get(self, path: str, query: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON answer of a GET.

        Raises:
            NervureError: The hub is away, refuses, or fails; the family says which.
        """
        return self._ask("GET", path, params=query)

    def post(self, path: str, body: Any) -> Any:
        """Return the JSON answer of a POST with a JSON body.

        Raises:
            NervureError: The hub is away, refuses, or fails; the family says which.
        """
        return self._ask("POST", path, json=body)

    def upload(self, path: str, files: list[tuple[str, tuple[str, Any]]], query: Mapping[str, Any]) -> Any:
        """Return the JSON answer of a POST with files, given as ``(field, (name, binary file))``.

        Raises:
            NervureError: The hub is away, refuses, or fails; the family says which.
        """
        return self._ask("POST", path, files=files, params=query)

    def _ask(self, method: str, path: str, **what: Any) -> Any:
        import httpx

        try:
            answer = self._client.request(method, path, **what)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise ApiUnreachable(
                f"no hub answers at {self.url} ({_first_line(error)})",
                hint="start one with `nervure hub up --region NAME`, or give its address with --api or NERVURE_API",
            ) from error
        except httpx.TimeoutException as error:
            raise ApiUnreachable(f"the hub at {self.url} did not answer within {ANSWER_S:g} s") from error
        except httpx.HTTPError as error:
            raise ApiUnreachable(f"the connection to {self.url} broke: {_first_line(error)}") from error
        return self._content(answer)

    def _content(self, answer: httpx.Response) -> Any:
        try:
            body = answer.json()
        except ValueError as error:
            raise PeerError(
                f"{self.url} answers, but is no Nervure hub ({answer.status_code})", hint="check --api"
            ) from error
        if answer.is_success:
            return body
        said = body.get("error") if isinstance(body, dict) else None
        if not isinstance(said, dict):
            raise PeerError(f"{self.url} answers, but is no Nervure hub ({answer.status_code})", hint="check --api")
        fallback = PeerError if answer.is_server_error else InputError
        family = _FAMILIES.get(answer.status_code, fallback)
        # A class of its own, because the machine-readable code belongs to the class and comes from the hub.
        kind = type(family.__name__, (family,), {"code": str(said.get("code", family.code))})
        raise kind(str(said.get("message", "the hub refused")), hint=str(said.get("hint", "")))

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
