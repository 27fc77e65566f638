"""Growth with the planner's own plans: what stands in the set is what the next plan continues."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from rasteret_refs.refset.coordinates import stored_values
from rasteret_refs.refset.geoparquet import concatenated, scene_table
from rasteret_refs.refset.opened import OpenedRefset
from rasteret_refs.refset.plain import plain_store
from rasteret_refs.refset.publish import staged
from rasteret_refs.refset.successor import Successor, append
from rasteret_refs.refset.write import write_reference_set
from rasteret_refs.tiff.parse import parse
from rasteret_refs.tiff.values import TiffFile
from rasteret_refs.tiff.windows import Windows
from rasteret_refs.virtual.existing import existing_layout
from rasteret_refs.virtual.planner import plan
from rasteret_refs.virtual.pyramid import pyramids
from rasteret_refs.virtual.values import PlannedScene, ReferenceSetPlan, SceneAsset
from tests.refset.plans import plan_of, write_tiffs


def scene(path: Path, day: int) -> PlannedScene:
    data = path.read_bytes()
    windows = Windows(len(data))
    windows.add(0, data)
    parsed = parse(windows)
    assert isinstance(parsed, TiffFile)
    asset = SceneAsset(name="image", url=str(path), size=len(data), pyramids=pyramids(parsed))
    return PlannedScene(
        id=path.stem, assets=(asset,), time=np.datetime64("2024-01-01", "us") + np.timedelta64(day, "D")
    )


def table(planned: ReferenceSetPlan) -> object:
    placements = sorted(planned.placements, key=lambda placement: placement.index)
    return scene_table([{"id": placement.scene_id} for placement in placements], placements=placements)


@pytest.mark.parametrize("layout", ["grids", "stack"])
def test_batches_are_appended_behind_each_other(tmp_path: Path, layout: str) -> None:
    paths = write_tiffs(tmp_path, 9)
    expected = plan_of(paths).pixels
    refs = tmp_path / "grown.refs"
    first = plan([scene(path, day) for day, path in enumerate(paths[:4])], layout=layout, axis="time")
    with staged(refs) as directory:
        write_reference_set(first, directory, scenes=table(first), record_size=8)
    array = f"{first.placements[0].group}/{first.placements[0].array}"
    old = plain_store(refs)
    for start, stop in ((4, 5), (5, 9)):
        with staged(refs, overwrite=True) as directory:
            sealed = Successor(refs, directory).sealed
            existing = existing_layout(sealed.documents, lambda path, sealed=sealed: stored_values(sealed, path))
            batch = [scene(path, day) for day, path in enumerate(paths[start:stop], start)]
            more = plan(batch, existing=existing)
            append(refs, directory, more, scenes=concatenated(OpenedRefset(refs).all_scenes, table(more)))
    opened = OpenedRefset(refs)
    opened.verify()
    assert opened.scenes["id"].to_pylist() == [path.stem for path in paths]
    assert opened.scenes["refs:index"].to_pylist() == list(range(9))
    for store, count in ((plain_store(refs), 9), (old, 4)):
        group = zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)
        np.testing.assert_array_equal(np.asarray(group[array][:]), expected[:count])
        ids = group[f"{first.placements[0].group}/id"][:].tolist()
        assert ids[:count] == [path.stem for path in paths[:count]]
