"""Reference sets of the plain route's tests, built once: one of local files, one of files behind HTTP."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import rasteret_refs as rr
from tests.plain.scenes import Scenes, write_scenes
from tests.servers.range_server import Server, serve


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A reference set of COGs behind HTTP, itself behind the same server."""

    server: Server
    url: str
    """Of the set, without trailing slash."""


@pytest.fixture(scope="session")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plain")


@pytest.fixture(scope="session")
def scenes(directory: Path) -> Scenes:
    return write_scenes(directory)


@pytest.fixture(scope="session")
def local(directory: Path, scenes: Scenes) -> Path:
    """A reference set of local files."""
    out = directory / "local.refs"
    rr.build([str(path) for path in scenes.paths], out)
    return out


@pytest.fixture(scope="session")
def served(directory: Path, scenes: Scenes) -> Iterator[Served]:
    with serve(directory, process=True) as server:
        rr.build([server.url + path.name for path in scenes.paths], directory / "served.refs")
        yield Served(server=server, url=server.url + "served.refs")
