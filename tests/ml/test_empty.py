"""Chips of nothing but nodata are left out by what manifests say, without a request."""

import numpy as np
import pytest
import rasterio

import rasteret_refs as rr
from rasteret_refs.ml.entry import chip_source
from tests.ml.scenes import AssetSpec, SceneSpec, write_scenes
from tests.servers.range_server import serve


def test_chips_over_sparse_tiles_are_left_out_without_a_request(tmp_path):
    assets = [AssetSpec(name="red", blank=0.5), AssetSpec(name="nir", pixel=20.0, blank=0.3)]
    with serve(tmp_path) as server:
        items = write_scenes(tmp_path / "data", [SceneSpec(id="a", size=512)], assets, base=f"{server.url}data/")
        found = rr.build(items, tmp_path / "x.refs")
        server.reset()
        kept = chip_source(found, 64)
        everything = chip_source(found, 64, skip_empty=False)
        assert server.stats().requests == 0
        left_out = {(c["row"], c["col"]) for c in everything.chips.to_pylist()}
        left_out -= {(c["row"], c["col"]) for c in kept.chips.to_pylist()}
        assert left_out == set()  # 0.3 of the coarse asset is less than one of its tiles
        only_red = chip_source(found, 64, ["red"])
        assert server.stats().requests == 0
        assert min(only_red.chips["col"].to_pylist()) == 256
        assert len(only_red) == 8 * 4


def test_a_sparse_tile_of_a_file_without_nodata_is_zeros_and_empty(tmp_path):
    spec = SceneSpec(id="a", size=256)
    profile = {
        "driver": "GTiff", "width": 256, "height": 256, "count": 1, "dtype": "uint8", "tiled": True, "blockxsize": 128,
        "blockysize": 128, "sparse_ok": True, "crs": spec.crs,
        "transform": rasterio.transform.from_origin(spec.x, spec.y, 10, 10),
    }  # fmt: skip
    with rasterio.open(tmp_path / "a.tif", "w", **profile) as file:
        file.write(np.ones((128, 128), np.uint8), 1, window=rasterio.windows.Window(128, 0, 128, 128))
    source = chip_source(rr.build(tmp_path / "a.tif", tmp_path / "x.refs"), 128)
    assert [(chip["row"], chip["col"]) for chip in source.chips.to_pylist()] == [(0, 128)]


@pytest.mark.timeout(60)
def test_random_chips_of_an_empty_collection_end(tmp_path):
    assets = [AssetSpec(name="red", blank=1.0)]
    items = write_scenes(tmp_path, [SceneSpec(id="a", size=256)], assets)
    source = chip_source(rr.build(items, tmp_path / "x.refs"), 32, random=10)
    assert len(source) == 0
    assert source.chips.num_rows == 0
