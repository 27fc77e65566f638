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


def write_dense(path, data, nodata, **options):
    """Write a GeoTIFF whose empty tiles have bytes of their own."""
    profile = {
        "driver": "GTiff", "width": data.shape[-1], "height": data.shape[-2], "count": len(data), "dtype": data.dtype,
        "tiled": True, "blockxsize": 128, "blockysize": 128, "sparse_ok": False, "crs": "EPSG:32643", "nodata": nodata,
        "transform": rasterio.transform.from_origin(600_000, 1_500_000, 10, 10), **options,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(data)


CODECS = [
    {"compress": "deflate", "predictor": 2}, {"compress": "deflate"}, {"compress": "lzw"}, {"compress": "packbits"},
    {"compress": "zstd"}, {"compress": "deflate", "interleave": "pixel", "count": 3},
    {"compress": "deflate", "interleave": "band", "count": 3},
]  # fmt: skip


def tiles_under(data, row, column, nodata):
    """Whether any tile that a chip of 125 pixels touches has data."""
    top, left = row // 128 * 128, column // 128 * 128
    bottom, right = ((first + 124) // 128 * 128 + 128 for first in (row, column))
    return (data[:, top:bottom, left:right] != nodata).any()


@pytest.mark.parametrize("nodata", [0, 65535])
@pytest.mark.parametrize("options", CODECS, ids=lambda options: "-".join(map(str, options.values())))
def test_empty_tiles_that_are_written_out_are_left_out_too(tmp_path, options, nodata):
    bands = options.get("count", 1)
    data = np.random.default_rng(0).integers(1, 4000, (bands, 500, 500)).astype(np.uint16)
    data[:, :256, :] = nodata
    data[:, 256:384, 256:] = nodata
    data[:, 384:, 384:] = nodata  # a tile that reaches beyond the image
    write_dense(tmp_path / "a.tif", data, nodata, **{key: value for key, value in options.items() if key != "count"})
    with serve(tmp_path) as server:
        found = rr.build(f"{server.url}a.tif", tmp_path / "x.refs")
        server.reset()
        source = chip_source(found, 125)
        kept = {(chip["row"], chip["col"]) for chip in source.chips.to_pylist()}
        assert server.stats().requests <= 3
    everything = {(row, column) for row in range(0, 500, 125) for column in range(0, 500, 125)}
    wanted = {(row, column) for row, column in everything if tiles_under(data, row, column, nodata)}
    assert 0 < len(wanted) < len(everything)
    assert kept == wanted


@pytest.mark.parametrize("options", CODECS[:5], ids=lambda options: "-".join(map(str, options.values())))
def test_no_tile_with_data_is_left_out_for_its_byte_count(tmp_path, options):
    data = np.zeros((1, 512, 512), np.uint8)
    data[:, :128, 128:256] = 7  # one value, as nodata is
    data[:, :128, 256:384] = 255
    data[:, 128, 0] = 1  # one pixel
    data[:, 255, 255] = 1
    data[:, 300:310, 300:310] = 9
    write_dense(tmp_path / "a.tif", data, 0, **options)
    source = chip_source(rr.build(tmp_path / "a.tif", tmp_path / "x.refs"), 128)
    kept = {(chip["row"], chip["col"]) for chip in source.chips.to_pylist()}
    wanted = {
        (row, column) for row in range(0, 512, 128) for column in range(0, 512, 128)
        if data[:, row : row + 128, column : column + 128].any()
    }  # fmt: skip
    assert kept == wanted


def test_the_byte_count_of_an_empty_tile_is_also_that_of_others(tmp_path):
    """Why bytes are looked at: tiles of 7 and of 9 are encoded in as many bytes."""
    data = np.full((1, 128, 256), 7, np.uint8)
    data[:, :, 128:] = 9
    write_dense(tmp_path / "a.tif", data, 7, compress="deflate")
    tiles = rr.build(tmp_path / "a.tif", tmp_path / "x.refs").tiles().read_all()
    lengths = set(tiles["length"].to_pylist())
    assert len(lengths) == 1
    source = chip_source(rr.open(tmp_path / "x.refs"), 128)
    assert source.chips["col"].to_pylist() == [128]


def test_zeros_without_nodata_are_data(tmp_path):
    write_dense(tmp_path / "a.tif", np.zeros((1, 256, 256), np.uint8), None, compress="deflate")
    assert len(chip_source(rr.build(tmp_path / "a.tif", tmp_path / "x.refs"), 128)) == 4


def test_an_object_that_is_gone_is_no_reason_to_leave_its_chips_out(tmp_path):
    write_dense(tmp_path / "a.tif", np.zeros((1, 256, 256), np.uint8), 0, compress="deflate")
    found = rr.build(tmp_path / "a.tif", tmp_path / "x.refs")
    (tmp_path / "a.tif").unlink()
    source = chip_source(found, 128)
    assert len(source) == 4
    with pytest.raises(rr.RasteretRefsError):
        source.read([0])
