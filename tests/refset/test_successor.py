"""Growth: a set with rows appended, sources moved or scenes dropped, and what readers of the older state see."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zarr

from rasteret_refs.errors import DamagedError, QueryError, RefsetError
from rasteret_refs.refset.coordinates import stored_values
from rasteret_refs.refset.files import LocalFiles
from rasteret_refs.refset.geoparquet import concatenated
from rasteret_refs.refset.opened import OpenedRefset
from rasteret_refs.refset.plain import plain_store
from rasteret_refs.refset.publish import staged
from rasteret_refs.refset.relocate import relocate
from rasteret_refs.refset.successor import Successor, append
from rasteret_refs.refset.tombstones import drop_scenes
from rasteret_refs.virtual.values import ReferenceSetPlan
from tests.refset.conftest import table_of
from tests.refset.plans import GROUP, Planned, coordinates, plan_of, write_tiffs

ARRAY = f"{GROUP}/image"


def read(store: object) -> np.ndarray:
    return np.asarray(zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)[ARRAY][:])


def continued(old: Planned, new: Planned) -> ReferenceSetPlan:
    """Return a plan that appends `new` to `old`, as the planner makes it: only what changes, without the parents."""
    group = new.plan.groups[2]
    start, count = len(old.ids), len(old.ids) + len(new.ids)
    array = replace(group.arrays[0], start=start, shape=(count, *group.arrays[0].shape[1:]))
    along = tuple(c for c in coordinates([*old.ids, *new.ids]) if c.dims == ("scene",))
    placements = tuple(replace(p, index=p.index + start) for p in new.plan.placements)
    return replace(new.plan, groups=(replace(group, arrays=(array,), coordinates=along),), placements=placements)


@pytest.fixture
def new(tmp_path: Path) -> Planned:
    directory = tmp_path / "new"
    directory.mkdir()
    return plan_of(write_tiffs(directory, 6, seed=9))


def grow(refs: Path, old: Planned, new: Planned) -> None:
    plan = continued(old, new)
    fresh = table_of(replace(new, plan=plan))
    with staged(refs, overwrite=True) as directory:
        append(refs, directory, plan, scenes=concatenated(OpenedRefset(refs).all_scenes, fresh))


def test_an_appended_set_has_old_and_new_pixels(refs: Path, planned: Planned, new: Planned) -> None:
    grow(refs, planned, new)
    expected = np.concatenate([planned.pixels, new.pixels])
    np.testing.assert_array_equal(read(plain_store(refs)), expected)
    opened = OpenedRefset(refs)
    opened.verify()
    assert opened.scenes["id"].to_pylist() == [*planned.ids, *new.ids]
    assert opened.scenes["refs:index"].to_pylist() == list(range(13))
    group = zarr.open_group(plain_store(refs), mode="r", zarr_format=2, use_consolidated=False)
    assert group[f"{GROUP}/id"][:].tolist() == [*planned.ids, *new.ids]
    assert group[f"{GROUP}/x"].shape == (30,)


def test_a_set_may_grow_again_and_again(refs: Path, planned: Planned, tmp_path: Path) -> None:
    total = planned
    for seed in range(20, 25):
        more = plan_of(write_tiffs(tmp_path, 3, seed=seed))
        grow(refs, total, more)
        total = replace(total, ids=(*total.ids, *more.ids), pixels=np.concatenate([total.pixels, more.pixels]))
    np.testing.assert_array_equal(read(plain_store(refs)), total.pixels)
    OpenedRefset(refs).verify()


def test_only_the_last_record_file_is_written_anew(refs: Path, planned: Planned, new: Planned) -> None:
    names = [f"zarr.parq/{ARRAY}/refs.{k}.parq" for k in range(5)]
    before = [(refs / name).stat().st_ino for name in names]
    grow(refs, planned, new)
    after = [(refs / name).stat().st_ino for name in names]
    assert before[:4] == after[:4]
    assert before[4] != after[4]


def test_readers_of_the_older_state_go_on_with_its_pixels(refs: Path, planned: Planned, new: Planned) -> None:
    opened = OpenedRefset(refs)
    store = plain_store(refs)
    travelled = pickle.loads(pickle.dumps(opened))  # noqa: S301 - our own bytes
    grow(refs, planned, new)
    np.testing.assert_array_equal(read(store), planned.pixels)
    for reader in (opened, travelled):
        for k in range(5):
            table = reader.records(ARRAY, k)
            assert table["path"].to_pylist()[:1] == [planned.urls[k * 8 // 5] if k * 8 // 5 != 2 else ""]
        assert reader.scenes["id"].to_pylist() == list(planned.ids)


def test_two_threads_find_the_newer_state_at_once(
    refs: Path, planned: Planned, new: Planned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one of them reads the newer seal, the other has already taken it: no damage."""
    early = OpenedRefset(refs)
    grow(refs, planned, new)
    original, nested = LocalFiles.read, []

    def read_seal(files: LocalFiles, name: str, most: int | None = None) -> bytes:
        if name == "refs.json" and not nested:
            nested.append(name)
            early.records(ARRAY, 4)  # what another thread does in between
        return original(files, name, most)

    monkeypatch.setattr(LocalFiles, "read", read_seal)
    assert early.scenes["id"].to_pylist() == list(planned.ids)
    assert nested


def test_a_set_replaced_by_another_one_is_no_later_state(
    refs: Path, planned: Planned, new: Planned, tmp_path: Path
) -> None:
    from rasteret_refs.refset.write import write_reference_set

    opened = OpenedRefset(refs)
    with staged(refs, overwrite=True) as directory:
        write_reference_set(new.plan, directory, scenes=table_of(new), record_size=8)
    with pytest.raises(DamagedError):
        opened.records(ARRAY, 0)


def test_a_failed_append_leaves_the_older_state(refs: Path, planned: Planned, new: Planned) -> None:
    before = (refs / "refs.json").read_bytes()
    plan = continued(planned, new)
    group = plan.groups[0]
    wrong = replace(plan, groups=(replace(group, arrays=(replace(group.arrays[0], start=6),)),))

    def attempt() -> None:
        with staged(refs, overwrite=True) as directory:
            append(refs, directory, wrong, scenes=table_of(planned))

    with pytest.raises(RefsetError):
        attempt()
    assert (refs / "refs.json").read_bytes() == before
    OpenedRefset(refs).verify()


def test_rows_with_other_codecs_are_refused(refs: Path, planned: Planned, new: Planned) -> None:
    plan = continued(planned, new)
    group = plan.groups[0]
    array = replace(group.arrays[0], chain=replace(group.arrays[0].chain, compressor={"id": "zlib", "level": 1}))
    wrong = replace(plan, groups=(replace(group, arrays=(array,)),))

    def attempt() -> None:
        with staged(refs, overwrite=True) as directory:
            append(refs, directory, wrong, scenes=table_of(planned))

    with pytest.raises(RefsetError, match="another compressor"):
        attempt()


def test_a_damaged_set_is_not_carried_on(refs: Path, planned: Planned, new: Planned) -> None:
    path = refs / f"zarr.parq/{ARRAY}/refs.0.parq"
    data = path.read_bytes()
    path.write_bytes(data[:-20] + bytes(20))
    with pytest.raises(DamagedError, match=r"refs\.0\.parq"):
        grow(refs, planned, new)


def test_stored_coordinates_can_be_read_for_the_next_plan(refs: Path, planned: Planned) -> None:
    with staged(refs, overwrite=True) as directory:
        sealed = Successor(refs, directory).sealed
        values = stored_values(sealed, f"{GROUP}/id")
        Successor(refs, directory).finish()
    assert values.tolist() == list(planned.ids)


def test_sources_move_without_a_request(
    refs: Path, planned: Planned, tmp_path: Path, write: Callable[..., Path]
) -> None:
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for url in planned.urls:
        Path(url).rename(moved / Path(url).name)
    with staged(refs, overwrite=True) as directory:
        relocate(refs, directory, {f"{tmp_path}/": f"{moved}/"})
    np.testing.assert_array_equal(read(plain_store(refs)), planned.pixels)
    opened = OpenedRefset(refs)
    opened.verify()
    assert opened.seal.sources == (f"{moved}/",)
    assert {asset["image"]["href"] for asset in opened.scenes["assets"].to_pylist()} == {
        str(moved / Path(url).name) for url in planned.urls
    }


def test_a_prefix_that_no_reference_has_is_refused(refs: Path) -> None:
    def attempt() -> None:
        with staged(refs, overwrite=True) as directory:
            relocate(refs, directory, {"s3://nobody/": "s3://somebody/"})

    with pytest.raises(QueryError, match="s3://nobody/"):
        attempt()


def test_dropped_scenes_leave_a_tombstone(refs: Path, planned: Planned) -> None:
    gone = [planned.ids[1], planned.ids[4]]
    with staged(refs, overwrite=True) as directory:
        drop_scenes(refs, directory, gone)
    opened = OpenedRefset(refs)
    opened.verify()
    left = [scene for scene in planned.ids if scene not in gone]
    assert opened.scenes["id"].to_pylist() == left
    assert opened.scenes["refs:index"].to_pylist() == [0, 2, 3, 5, 6]
    assert opened.all_scenes.filter(pa.compute.field("refs:dropped"))["id"].to_pylist() == gone
    np.testing.assert_array_equal(read(plain_store(refs)), planned.pixels)


def test_a_scene_that_is_not_there_cannot_be_dropped(refs: Path) -> None:
    def attempt() -> None:
        with staged(refs, overwrite=True) as directory:
            drop_scenes(refs, directory, ["nobody"])

    with pytest.raises(QueryError, match="nobody"):
        attempt()
