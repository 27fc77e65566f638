"""Series of mosaics by period, against rasterio and NumPy."""

import numpy as np
import pytest

from rasteret_refs.errors import QueryError
from rasteret_refs.ml.entry import chip_source
from tests.ml.scenes import AssetSpec, SceneSpec, collection, read

DAYS = {"a": 0, "b": 10, "c": 70, "d": 75, "e": 100}  # January twice, March twice, April
ASSETS = [AssetSpec(name="red", blank=0.2), AssetSpec(name="nir"), AssetSpec(name="scl", dtype="uint8", high=12)]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    directory = tmp_path_factory.mktemp("series")
    scenes = [SceneSpec(id=name, day=day, size=160) for name, day in DAYS.items()]
    scenes.append(SceneSpec(id="elsewhere", day=40, size=160, x=620_000.0))
    return directory, collection(directory, scenes, ASSETS)


def mosaic(directory, names, hidden=()):
    image = np.zeros((2, 160, 160), np.uint16)
    valid = np.zeros((160, 160), bool)
    for name in names:
        bands = np.concatenate([read(directory, name, "red"), read(directory, name, "nir")])
        good = (bands != 0).all(axis=0) & ~np.isin(read(directory, name, "scl")[0], hidden)
        image = np.where(good & ~valid, bands, image)
        valid |= good
    return image, valid


@pytest.mark.parametrize("hidden", [(), (3, 8, 9)])
def test_each_period_is_the_first_valid_pixel_of_its_scenes(made, hidden):
    directory, found = made
    masks = {"mask_assets": {"scl": list(hidden)}} if hidden else {}
    source = chip_source(found, 80, ["red", "nir"], series={"freq": "MS", "length": 3}, **masks)
    chips = source.chips.to_pylist()
    assert {(chip["scene"], str(chip["start"])[:10], chip["scenes"]) for chip in chips} == {
        ("a", "2024-01-01", 4), ("e", "2024-04-01", 1), ("elsewhere", "2024-02-01", 1),
    }  # fmt: skip
    batch = source.read(range(len(source)))
    assert batch["image"].shape == (len(chips), 3, 2, 80, 80)
    assert batch["image"].dtype == np.uint16
    periods = {"a": [["a", "b"], [], ["c", "d"]], "e": [["e"], [], []], "elsewhere": [["elsewhere"], [], []]}
    for number, chip in enumerate(chips):
        for period, names in enumerate(periods[chip["scene"]]):
            image, valid = mosaic(directory, names, hidden)
            window = (slice(chip["row"], chip["row"] + 80), slice(chip["col"], chip["col"] + 80))
            assert np.array_equal(batch["valid"][number, period], valid[window])
            assert np.array_equal(batch["image"][number, period], image[:, *window])
    times = batch["time"][0].astype("datetime64[s]").astype(str).tolist()
    assert times == ["2024-01-01T00:00:00", "2024-02-01T00:00:00", "2024-03-01T00:00:00"]


def test_a_frequency_that_pandas_does_not_know_is_refused(made):
    _, found = made
    with pytest.raises(QueryError, match="expected a frequency of pandas"):
        chip_source(found, 80, ["red"], series={"freq": "fortnight", "length": 2})
