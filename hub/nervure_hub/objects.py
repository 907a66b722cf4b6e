"""The object-store seam: content by its hash, and named objects for what has an owner and changes.

Rules
    1. ``put`` names content by its SHA-256; ``get`` checks it, so a damaged or foreign object is never handed on.
    2. ``get_range`` can't check a part: whoever assembles the whole checks its hash (agents do).
    3. Named objects (``put_named``) are replaced whole; a reader sees the old one or the new one. The truth about which
       one counts stands in coordination, not here.
    4. Every call is bounded in time; a store that fails raises ``ObjectStoreFailed``.

All regions of a fleet share one store; ``memory:`` is the twin for tests and simulations in one process.

>>> async def example() -> None:
...     objects = ObjectStore.open("memory:")
...     key = await objects.put(b"weights")
...     assert await objects.get(key) == b"weights"
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import unquote, urlsplit

import obstore
from obstore.store import LocalStore, MemoryStore, from_url

from nervure_core.errors import ConfigurationError, InputError, WorldError
from nervure_core.files import sha256_hex

CALL_S = 60.0
MAX_OBJECT_BYTES = 2 << 30

_HASH = re.compile(r"[0-9a-f]{64}")
_NAMED = re.compile(r"[A-Za-z0-9_=][A-Za-z0-9._=-]*(/[A-Za-z0-9_=][A-Za-z0-9._=-]*)*")
T = TypeVar("T")


class ObjectMissing(InputError):
    """There is no such object.

    Attributes:
        key: What was asked for.
    """

    code = "object-missing"

    def __init__(self, key: str) -> None:
        super().__init__(f"object {key} is not in the store")
        self.key = key


class ObjectDamaged(WorldError):
    """An object's content is not what its name says.

    Attributes:
        key: The hash it was asked for by.
    """

    code = "object-damaged"

    def __init__(self, key: str, found: str) -> None:
        super().__init__(
            f"object {key[:12]}… is damaged: its SHA-256 is {found[:12]}…",
            hint="delete it from the object store and push the bundle again",
        )
        self.key = key


class ObjectStoreFailed(WorldError):
    """The object store refused or did not answer."""

    code = "object-store"


class ObjectStore:
    """Objects on a folder, in S3 (or what speaks it), or in memory.

    Args:
        store: An ``obstore`` store.
        origin: Its URL, for messages.
        call_s: Limit of one call, seconds.
    """

    __slots__ = ("_call_s", "_store", "origin")

    def __init__(self, store: Any, origin: str, *, call_s: float = CALL_S) -> None:
        self._store = store
        self.origin = origin
        self._call_s = call_s

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the store at ``file:///folder`` (made if absent), ``s3://bucket/prefix`` or ``memory:``.

        Raises:
            ConfigurationError: The URL is not understood.
            ObjectStoreFailed: The folder can't be made.
        """
        kind, _, rest = url.partition(":")
        if kind == "memory":
            return cls(MemoryStore(), url)
        if kind == "file":
            folder = Path(unquote(urlsplit(url).path))
            if not rest.startswith("///") or not folder.is_absolute():
                raise ConfigurationError(f"object store {url!r} is not file:///absolute/folder")
            try:
                folder.mkdir(parents=True, exist_ok=True)
                return cls(LocalStore(folder), url)
            except OSError as error:
                raise ObjectStoreFailed(f"object store {url}: {error.strerror}", hint="check the folder") from error
        if kind != "s3":
            raise ConfigurationError(
                f"object store {url!r} is not understood", hint="use file:///folder, s3://bucket/prefix or memory:"
            )
        try:
            return cls(from_url(url), url)
        except (obstore.exceptions.BaseError, ValueError) as error:
            raise ConfigurationError(f"object store {url!r}: {error}") from error

    async def put(self, data: bytes) -> str:
        """Store content and return its SHA-256, the key; what is there already is not written again.

        Raises:
            ObjectStoreFailed: The store refused or did not answer.
        """
        key = sha256_hex(data)
        if not await self._exists(_content(key)):
            await self._write(_content(key), data)
        return key

    async def get(self, key: str) -> bytes:
        """Return content by its SHA-256, checked.

        Raises:
            ObjectMissing: There is none.
            ObjectDamaged: It is not what was put.
            ObjectStoreFailed: The store refused or did not answer.
        """
        data = await self._read(_content(key), key)
        found = sha256_hex(data)
        if found != key:
            raise ObjectDamaged(key, found)
        return data

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """Return up to ``length`` bytes of content from ``offset``, unchecked; empty at or behind its end.

        Raises:
            ObjectMissing: There is none.
            ObjectStoreFailed: The store refused or did not answer.
        """
        size = await self.size(key)
        if offset < 0 or length <= 0 or offset >= size:
            return b""
        wanted = min(length, size - offset)
        part = await self._answer(obstore.get_range_async(self._store, _content(key), start=offset, length=wanted), key)
        return bytes(part)

    async def size(self, key: str) -> int:
        """Return the size of content in bytes.

        Raises:
            ObjectMissing: There is none.
            ObjectStoreFailed: The store refused or did not answer.
        """
        head = await self._answer(obstore.head_async(self._store, _content(key)), key)
        return int(head["size"])

    async def exists(self, key: str) -> bool:
        """Return whether content is there."""
        return await self._exists(_content(key))

    async def put_named(self, name: str, data: bytes) -> None:
        """Store or replace a named object such as ``runs/r1/state.bin``.

        Raises:
            ConfigurationError: The name has other parts than letters, digits, ``. _ = -`` and single slashes.
            ObjectStoreFailed: The store refused or did not answer.
        """
        await self._write(_named(name), data)

    async def get_named(self, name: str) -> bytes:
        """Return a named object.

        Raises:
            ObjectMissing: There is none.
            ObjectStoreFailed: The store refused or did not answer.
        """
        return await self._read(_named(name), name)

    async def exists_named(self, name: str) -> bool:
        """Return whether a named object is there."""
        return await self._exists(_named(name))

    async def list_named(self, prefix: str) -> Sequence[str]:
        """Return the names under a prefix (whole path parts), in order."""

        async def collect() -> list[str]:
            names: list[str] = []
            async for page in obstore.list(self._store, prefix=_named(prefix.rstrip("/"))):
                names += [str(entry["path"]).removeprefix("named/") for entry in page]
            return sorted(names)

        return await self._answer(collect(), prefix)

    async def delete_named(self, name: str) -> None:
        """Delete a named object; one that is not there is no error."""
        if await self._exists(_named(name)):
            await self._answer(obstore.delete_async(self._store, _named(name)), name)

    async def _exists(self, path: str) -> bool:
        try:
            await self._answer(obstore.head_async(self._store, path), path)
        except ObjectMissing:
            return False
        return True

    async def _read(self, path: str, key: str) -> bytes:
        async def read() -> bytes:
            return bytes(await (await obstore.get_async(self._store, path)).bytes_async())

        return await self._answer(read(), key)

    async def _write(self, path: str, data: bytes) -> None:
        if len(data) > MAX_OBJECT_BYTES:
            raise InputError(f"object of {len(data)} bytes is larger than {MAX_OBJECT_BYTES}")
        await self._answer(obstore.put_async(self._store, path, data), path)

    async def _answer(self, call: Awaitable[T], key: str) -> T:
        try:
            async with asyncio.timeout(self._call_s):
                return await call
        except FileNotFoundError as error:
            raise ObjectMissing(key) from error
        except TimeoutError as error:
            raise ObjectStoreFailed(f"object store {self.origin} did not answer in {self._call_s:g} s") from error
        except (obstore.exceptions.BaseError, OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ObjectStoreFailed(
                f"object store {self.origin}: {reason}", hint="check the address, the rights and the free space"
            ) from error


def _content(key: str) -> str:
    if _HASH.fullmatch(key) is None:
        raise ObjectMissing(key[:80])
    return f"sha256/{key[:2]}/{key}"


def _named(name: str) -> str:
    if _NAMED.fullmatch(name) is None:
        raise ConfigurationError(f"object name {name!r} is not a path of letters, digits and '. _ = -'")
    return f"named/{name}"
