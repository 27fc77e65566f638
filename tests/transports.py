"""Both ways by which the client asks HTTP servers: libcurl, and obstore as where the extra `fast` is not installed."""

from collections.abc import Iterator

import pytest

from rasteret_refs.objects import ways

TRANSPORTS = ("libcurl", "obstore")


class Transport:
    """A choice that holds in child processes too: where it is unpickled, it is made."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return _choose, (self.name,)


def _choose(name: str) -> Transport:
    """Make the choice for all that this process does."""
    if name == "obstore":
        ways._curl_http = _nothing  # type: ignore[assignment] # the process is the test's own
    return Transport(name)


def _nothing() -> None:
    """Stand for a client that is not installed."""


def chosen(name: str) -> Iterator[Transport]:
    """Have this process use one transport until the generator goes on."""
    with pytest.MonkeyPatch.context() as patch:
        if name == "obstore":
            patch.setattr(ways, "_curl_http", _nothing)
        elif ways._curl_http() is None:
            pytest.skip("the extra `fast` is not installed")
        yield Transport(name)
