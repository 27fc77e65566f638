"""Fixtures that several folders share: the corpus and loopback servers."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.range_server import Server, serve

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _own_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Note sets that tests write in a directory of the test run, for child processes too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RASTERET_REFS_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The directory of real TIFFs that RASTERET_REFS_CORPUS names; skips where there is none."""
    directory = Path(os.environ.get("RASTERET_REFS_CORPUS", ROOT.parent / "shared" / "corpus")).resolve()
    if not (directory / "expected.csv").is_file():
        pytest.skip("no corpus of real TIFFs here: set RASTERET_REFS_CORPUS")
    return directory


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A range-capable loopback server over `tmp_path`, in a thread."""
    with serve(tmp_path) as running:
        yield running


@pytest.fixture
def server_process(tmp_path: Path) -> Iterator[Server]:
    """The same, in a process of its own: for tests that fork or block the interpreter."""
    with serve(tmp_path, process=True) as running:
        yield running
