"""One reference set of eight scenes in two grids, built once; tests that write get a copy."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import rasteret_refs as rr
from tests.collection.scenes import items


@pytest.fixture(scope="session")
def stac_items(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return items(tmp_path_factory.mktemp("cogs"), count=8)


@pytest.fixture(scope="session")
def location(tmp_path_factory: pytest.TempPathFactory, stac_items: list[dict[str, Any]]) -> Path:
    out = tmp_path_factory.mktemp("sets") / "eight.refs"
    rr.build(stac_items, out, layout="grids")
    return out


@pytest.fixture
def refs(location: Path) -> rr.Collection:
    return rr.open(location)


@pytest.fixture
def own(location: Path, tmp_path: Path) -> rr.Collection:
    """A set of the test's own, to write into."""
    shutil.copytree(location, tmp_path / "own.refs")
    return rr.open(tmp_path / "own.refs")
