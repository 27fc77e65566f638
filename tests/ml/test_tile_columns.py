"""Splits and labels by tile and by chip, from the set's own `tiles.parquet`: which chips belong where."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

import rasteret_refs as rr
from rasteret_refs.errors import QueryError
from rasteret_refs.ml.entry import chip_source
from tests.ml.scenes import AssetSpec, SceneSpec, collection, write_scenes

SCENES = [SceneSpec(id="a", size=512), SceneSpec(id="b", size=512, day=3), SceneSpec(id="c", size=512, x=610_000.0)]
ASSETS = [AssetSpec(name="red"), AssetSpec(name="scl", pixel=20.0, dtype="uint8", high=12)]


@pytest.fixture(params=["grids", "stack"])
def found(request, tmp_path):
    return collection(tmp_path, SCENES, ASSETS, layout=request.param)


def windows(found, split):
    """Pixels of a split as the table says, by grid and scene: flags of shape (512, 512)."""
    table = pyarrow.parquet.read_table(f"{found.location}/tiles.parquet").to_pylist()
    finest = {row["assets"]["red"]["refs:group"].rpartition("/")[0] for row in found.scenes.to_pylist()}
    painted = {}
    for row in table:
        if row["group"] in finest:
            flags = painted.setdefault((row["group"], row.get("id")), np.zeros((512, 512), bool))
            if row["split"] == split:
                x, y = row["x_offset"], row["y_offset"]
                flags[y : y + row["height"], x : x + row["width"]] = True
    return painted


def flags_of(painted, found, chip):
    group = chip["group"].rpartition("/")[0]
    return painted.get((group, None), painted.get((group, chip["scene"])))


@pytest.mark.parametrize(("size", "stride"), [(64, None), (32, 16), (50, 33), (100, 64), (128, None)])
def test_chips_of_a_split_lie_wholly_in_its_windows(found, size, stride):
    found.assign_splits(unit="chip", train=0.6, val=0.2, test=0.2, chip_size=64, seed=3)
    seen = {}
    everything = chip_source(found, size, ["red"], stride=stride).chips.to_pylist()
    for split in ("train", "val", "test"):
        painted = windows(found, split)
        source = chip_source(found, size, ["red"], stride=stride, split=split)
        wanted = [
            (chip["scene"], chip["row"], chip["col"]) for chip in everything
            if flags_of(painted, found, chip)[chip["row"] : chip["row"] + size, chip["col"] : chip["col"] + size].all()
        ]  # fmt: skip
        assert [(chip["scene"], chip["row"], chip["col"]) for chip in source.chips.to_pylist()] == wanted
        assert wanted or size >= 100
        for scene, row, column in wanted:
            owner = seen.setdefault(scene, np.full((512, 512), "", "<U8"))
            part = owner[row : row + size, column : column + size]
            assert np.isin(part, ["", split]).all(), "a pixel in two splits"
            part[...] = split


def test_equal_chips_and_windows_divide_everything(found):
    found.assign_splits(unit="chip", train=0.5, val=0.5, test=0.0, chip_size=128)
    parts = [chip_source(found, 128, ["red"], split=split) for split in ("train", "val")]
    assert sum(map(len, parts)) == 3 * 16
    assert all(map(len, parts))


def test_splits_by_blocks_with_overlapping_chips_leak_nothing(found):
    found.assign_splits(unit="chip", by="block", train=0.5, val=0.5, test=0.0, chip_size=64, stride=16,
                        block_metres=1500.0)  # fmt: skip
    assert not any(found.leakage(unit="chip").overlaps.values())
    painted = {}
    for number, split in enumerate(("train", "val"), start=1):
        source = chip_source(found, 64, ["red"], stride=16, split=split)
        assert len(source)
        for chip in source.chips.to_pylist():
            flags = painted.setdefault(chip["scene"], np.zeros((512, 512), np.int8))
            part = flags[chip["row"] : chip["row"] + 64, chip["col"] : chip["col"] + 64]
            assert np.isin(part, [0, number]).all()
            part[...] = number


def test_random_chips_and_points_keep_to_their_split(found):
    found.assign_splits(unit="chip", train=0.5, val=0.5, test=0.0, chip_size=128, seed=1)
    painted = windows(found, "val")
    source = chip_source(found, 40, ["red"], random=30, split="val")
    assert len(source) == 30
    for chip in source.chips.to_pylist():
        flags = flags_of(painted, found, chip)
        assert flags[chip["row"] : chip["row"] + 40, chip["col"] : chip["col"] + 40].all()


def test_labels_of_tiles_are_those_of_the_chips_grid(found):
    grids = sorted({row["assets"]["red"]["refs:group"].rpartition("/")[0] for row in found.scenes.to_pylist()})
    coarse = sorted({row["assets"]["scl"]["refs:group"].rpartition("/")[0] for row in found.scenes.to_pylist()})
    rows = [
        {"group": group, "row": r, "column": c, "crop": 100 * number + 4 * r + c}
        for number, group in enumerate(grids) for r in range(4) for c in range(4)
    ]  # fmt: skip
    rows += [
        {"group": group, "row": r, "column": c, "crop": -1} for group in coarse for r in range(2) for c in range(2)
    ]
    found.annotate(pa.Table.from_pylist(rows), on=("group", "row", "column"))
    source = chip_source(rr.open(found.location), 64, ["red"], label="crop")
    assert len(source) == 3 * 64
    numbers = {group: number for number, group in enumerate(grids)}
    labels = source.read(range(len(source)))["label"]
    for chip, label in zip(source.chips.to_pylist(), labels.tolist(), strict=True):
        r, c = (chip["row"] + 32) // 128, (chip["col"] + 32) // 128
        assert label == 100 * numbers[chip["group"].rpartition("/")[0]] + 4 * r + c


def test_a_split_of_tiles_is_not_left_by_a_chip(found):
    groups = {row["assets"]["red"]["refs:group"].rpartition("/")[0] for row in found.scenes.to_pylist()}
    rows = [
        {"group": group, "row": r, "column": c, "split": "train" if c < 2 else "val"}
        for group in groups for r in range(4) for c in range(4)
    ]  # fmt: skip
    found.annotate(pa.Table.from_pylist(rows), on=("group", "row", "column"))
    source = chip_source(found, 100, ["red"], stride=60, split="train")
    assert max(source.chips["col"].to_pylist()) == 120  # the next one, at 180, would reach into the third tile


def test_a_split_that_no_chip_has_is_refused(found):
    found.assign_splits(unit="chip", train=0.5, val=0.5, test=0.0, chip_size=64)
    with pytest.raises(QueryError, match=r"out of \['train', 'val'\], got 'test'"):
        chip_source(found, 64, ["red"], split="test")


def test_labels_of_another_asset_than_the_finest_are_refused(tmp_path):
    items = write_scenes(tmp_path, SCENES[:1], ASSETS)
    found = rr.build(items, tmp_path / "x.refs")
    groups = {
        name: found.scenes.to_pylist()[0]["assets"][name]["refs:group"].rpartition("/")[0] for name in ("red", "scl")
    }
    table = pa.Table.from_pylist([{"group": groups["scl"], "asset": "scl", "row": 0, "column": 0, "crop": 1}])
    found.annotate(table, on=("group", "asset", "row", "column"))
    with pytest.raises(QueryError, match="expected tiles of 'red'"):
        chip_source(found, 64, ["red"], label="crop")
