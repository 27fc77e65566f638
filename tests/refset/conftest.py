"""Reference sets written for the tests of `refset/`."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest

from rasteret_refs.refset.geoparquet import scene_table
from rasteret_refs.refset.write import write_reference_set
from tests.refset.plans import Planned, plan_of, write_tiffs


def table_of(planned: Planned) -> pa.Table:
    """Return the scene table of a plan."""
    records = [
        {"id": scene, "assets": {"image": {"href": url, "size": 1, "etag": '"e"'}}}
        for scene, url in zip(planned.ids, planned.urls, strict=True)
    ]
    return scene_table(records, placements=planned.plan.placements)


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    """Seven local TIFFs, the third of them a hole."""
    return plan_of(write_tiffs(tmp_path, 7), holes=[2])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a plan as `<name>.refs` below `tmp_path`, eight references a record file."""

    def write(planned: Planned, name: str = "set", record_size: int | None = 8, sources: Sequence[str] = ()) -> Path:
        directory = tmp_path / f"{name}.refs"
        directory.mkdir()
        prefixes = tuple(sources) or None
        write_reference_set(
            planned.plan, directory, scenes=table_of(planned), record_size=record_size, sources=prefixes
        )
        return directory

    return write


@pytest.fixture
def refs(planned: Planned, write: Callable[..., Path]) -> Path:
    """A written set of `planned`."""
    return write(planned)
