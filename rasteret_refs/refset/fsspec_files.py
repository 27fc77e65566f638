"""A reference set's own files through fsspec, for the plain route."""

import os
from collections.abc import Mapping
from typing import Any

import fsspec

from rasteret_refs.errors import NotFoundError, UnavailableError


def options_of(protocol: str, storage: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return fsspec's options of a protocol; `http` and `https` share what either gives."""
    if protocol in {"http", "https"}:
        return {**storage.get("http", {}), **storage.get("https", {})}
    return dict(storage.get(protocol, {}))


class FsspecFiles:
    """Files below a URL, read by fsspec's synchronous interface; opened anew in each process.

    Parameters
    ----------
    location
        URL of the set, without trailing slash.
    storage
        fsspec's options by protocol.
    """

    def __init__(self, location: str, storage: Mapping[str, Mapping[str, Any]]) -> None:
        self.location = location
        self.storage = storage
        self._opened: tuple[int, Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.location, self.storage)

    def read(self, name: str, most: int | None = None) -> bytes:
        """See `SetFiles`; objects are read whole."""
        del most
        url = f"{self.location}/{name}"
        try:
            return bytes(self._filesystem().cat_file(url))
        except FileNotFoundError as error:
            raise NotFoundError(f"{url}: expected a file, got none") from error
        except Exception as error:
            raise UnavailableError(f"{url}: expected a file, got {type(error).__name__}: {error}") from error

    def names(self) -> set[str] | None:
        """See `SetFiles`; the plain route verifies nothing as a whole."""
        return None

    def _filesystem(self) -> Any:
        """Return this process's filesystem: fsspec's refuse to work in a forked child."""
        if self._opened is None or self._opened[0] != os.getpid():
            protocol = self.location.partition("://")[0]
            options = options_of(protocol, self.storage)
            self._opened = os.getpid(), fsspec.filesystem(protocol, skip_instance_cache=True, **options)
        return self._opened[1]
