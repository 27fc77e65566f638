"""Rasteret collections: ready-made headers out of stored offsets, without a request; what they lack is not guessed."""

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
import tifffile
from rasterio.transform import from_origin

import rasteret_refs as rr
from rasteret_refs.errors import SourceError
from rasteret_refs.sources.resolve import resolve
from rasteret_refs.tiff.georeference import georeference
from rasteret_refs.tiff.parse import parse
from rasteret_refs.tiff.values import Planar, TiffFile
from rasteret_refs.tiff.windows import Windows

# The struct that Rasteret 0.3 and 0.4 write, one column a band.
HEADER = pa.struct(
    [
        *((name, pa.int32()) for name in ("image_width", "image_height", "tile_width", "tile_height")),
        ("dtype", pa.string()),
        ("transform", pa.list_(pa.float64())),
        ("predictor", pa.int32()),
        ("compression", pa.int32()),
        ("tile_offsets", pa.list_(pa.int64())),
        ("tile_byte_counts", pa.list_(pa.int64())),
        ("pixel_scale", pa.list_(pa.float64())),
        ("tiepoint", pa.list_(pa.float64())),
        ("nodata", pa.float64()),
        ("samples_per_pixel", pa.int32()),
        ("planar_configuration", pa.int32()),
        ("photometric", pa.int32()),
        ("extra_samples", pa.list_(pa.int32())),
    ]
)
PROFILES = {
    "f": {"dtype": "float32", "compress": "deflate", "predictor": 3, "nodata": -9999},
    "u8": {"dtype": "uint8", "compress": "deflate", "predictor": 2, "nodata": 0},
    "u16": {"dtype": "uint16", "compress": "deflate", "predictor": 2, "nodata": 0},
    "n15": {"dtype": "uint16", "compress": "deflate", "nbits": 15},
    "raw": {"dtype": "uint8"},
    "rgb": {"dtype": "uint8", "count": 3, "compress": "deflate", "predictor": 2, "interleave": "pixel"},
    "planar": {"dtype": "int8", "count": 3, "compress": "zstd", "predictor": 2, "interleave": "band", "nodata": -128},
}


def write(path, *, dtype, count=1, **options):
    values = (np.arange(count * 300 * 500).reshape(count, 300, 500) % 113).astype(dtype)
    place = {"crs": "EPSG:32643", "transform": from_origin(600000, 1500000, 10, 10)}
    tiles = {"tiled": True, "blockxsize": 128, "blockysize": 64}
    profile = {"driver": "GTiff", "width": 500, "height": 300, "count": count, "dtype": dtype, **place, **tiles}
    with rasterio.open(path, "w", **profile, **options) as target:
        target.write(values)


def record(path, band):
    """What Rasteret would store of one band, as tifffile and rasterio read it."""
    with tifffile.TiffFile(path) as file, rasterio.open(path) as source:
        page = file.pages[0]
        planar = int(page.planarconfig)
        tiles = len(page.dataoffsets) // (page.samplesperpixel if planar == 2 else 1)
        part = slice(band * tiles, (band + 1) * tiles) if planar == 2 else slice(None)
        transform = source.transform
        return {
            "image_width": page.imagewidth,
            "image_height": page.imagelength,
            "tile_width": page.tilewidth,
            "tile_height": page.tilelength,
            "dtype": source.dtypes[0],
            "transform": [transform.a, transform.c, transform.e, transform.f],
            "predictor": int(page.predictor),
            "compression": int(page.compression),
            "tile_offsets": list(page.dataoffsets[part]),
            "tile_byte_counts": list(page.databytecounts[part]),
            "pixel_scale": [],
            "tiepoint": [],
            "nodata": source.nodata,
            "samples_per_pixel": page.samplesperpixel,
            "planar_configuration": planar,
            "photometric": int(page.photometric),
            "extra_samples": [int(one) for one in page.extrasamples] or None,
        }


def bands_of(names):
    return {
        (f"{name}{band}" if PROFILES[name].get("count", 1) > 1 else name): (name, band)
        for name in names
        for band in range(PROFILES[name].get("count", 1))
    }


@pytest.fixture
def collection(tmp_path):
    """Writes the named files and a collection of two scenes of them, partitioned as Rasteret's exports are."""

    def make(*names):
        bands = bands_of(names)
        for name in names:
            write(tmp_path / f"{name}.tif", **PROFILES[name])
        places = {
            band: {"href": f"{tmp_path}/{name}.tif", "band_index": index} for band, (name, index) in bands.items()
        }
        rows = {
            "id": ["s1", "s2"],
            "datetime": pa.array([dt.datetime(2024, 1, 1), dt.datetime(2024, 2, 1)], pa.timestamp("us")),  # noqa: DTZ001 - as Rasteret stores them
            "geometry": [shapely.to_wkb(shapely.box(75, 13, 76, 14))] * 2,
            "assets": [places, places],
            "bbox": [{"xmin": 75.0, "ymin": 13.0, "xmax": 76.0, "ymax": 14.0}, None],
            "proj:epsg": pa.array([32643, 32643], pa.int32()),
            "eo:cloud_cover": [10.0, 20.0],
        }
        for band, (name, index) in bands.items():
            rows[f"{band}_metadata"] = pa.array([record(tmp_path / f"{name}.tif", index)] * 2, HEADER)
        table = pa.table(rows)
        for number in range(2):
            folder = tmp_path / "collection" / "year=2024" / f"month={number + 1}"
            folder.mkdir(parents=True)
            pq.write_table(table.slice(number, 1), folder / "part-0.parquet")
        return tmp_path / "collection"

    return make


def parsed(path) -> TiffFile:
    content = path.read_bytes()
    windows = Windows(len(content))
    windows.add(0, content)
    header = parse(windows)
    assert isinstance(header, TiffFile)
    return header


PIXELS = (
    "byte_order",
    "width",
    "height",
    "samples",
    "bits",
    "sample_format",
    "planar",
    "photometric",
    "compression",
    "predictor",
    "fill_order",
    "tiled",
    "chunk_width",
    "chunk_height",
    "role",
)


@pytest.mark.parametrize("name", ["f", "u8", "raw", "rgb", "planar"])
def test_headers_equal_those_read_from_the_files(collection, tmp_path, name):
    stream = resolve(collection(name))
    scenes = list(stream)
    assert stream.recipe["kind"] == "rasteret"
    assert [scene.id for scene in scenes] == ["s1", "s2"]
    [asset] = scenes[1].assets
    direct = parsed(tmp_path / f"{name}.tif").images[0]
    [image] = asset.header.images
    for field in PIXELS:
        assert getattr(image.description, field) == getattr(direct.description, field), field
    np.testing.assert_array_equal(image.offsets, direct.offsets)
    np.testing.assert_array_equal(image.byte_counts, direct.byte_counts)
    ours, theirs = georeference(image.description), georeference(direct.description)
    assert ours.epsg == theirs.epsg == 32643
    assert ours.transform == theirs.transform
    if direct.description.nodata_text is not None:
        assert float(image.description.nodata_text) == float(direct.description.nodata_text)


def test_pixels_of_an_import_equal_the_files_without_a_request(collection, tmp_path):
    names = ["f", "u8", "u16", "rgb", "planar"]
    place = collection(*names)
    built = rr.build(place, tmp_path / "out.refs", assume={"byte_order": "little"})
    assert built.report.requests == 0
    assets = pq.read_table(tmp_path / "out.refs" / "scenes.parquet")["assets"].combine_chunks()
    sizes = [assets.field(number).field("refs:size") for number in range(assets.type.num_fields)]
    assert [size.null_count for size in sizes] == [2] * 5
    found = built.to_xarray()
    [first, _] = resolve(place, assume={"byte_order": "little"})
    for asset in first.assets:
        with rasterio.open(asset.href) as source:
            expected = source.read()
        np.testing.assert_array_equal(np.squeeze(found[asset.name].isel(time=1).to_numpy()), np.squeeze(expected))


def test_no_file_is_touched(collection, tmp_path):
    place = collection("f")
    (tmp_path / "f.tif").unlink()
    [first, _] = resolve(place)
    assert first.assets[0].header is not None
    assert first.datetime == dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    assert first.properties["eo:cloud_cover"] == 10.0
    assert shapely.from_wkb(first.geometry).equals(shapely.box(75, 13, 76, 14))


@pytest.mark.parametrize(
    ("name", "words"), [("u16", "the byte order of"), ("n15", "the byte order and the bits a sample of")]
)
def test_what_the_records_lack_is_refused_by_name(collection, name, words):
    place = collection("f", name)
    with pytest.raises(SourceError, match=rf"s1, {name}: .*{words}"):
        list(resolve(place))
    stream = resolve(place, on_error="skip")
    assert [[asset.name for asset in scene.assets] for scene in stream] == [["f"], ["f"]]
    assert [(failure.scene, failure.asset) for failure in stream.failures] == [("s1", name), ("s2", name)]


def test_what_the_records_lack_is_fetched_by_choice(collection):
    [scene, _] = resolve(collection("f", "u16"), fetch_missing=True)
    assert [(asset.name, asset.header is None) for asset in scene.assets] == [("f", False), ("u16", True)]


def test_what_the_records_lack_may_be_taken_for_granted_and_is_recorded(collection, tmp_path):
    stream = resolve(collection("u16"), assume={"byte_order": "little"})
    [scene, _] = stream
    [asset] = scene.assets
    assert asset.header.images[0].description.byte_order == parsed(tmp_path / "u16.tif").byte_order
    assert asset.properties["refs:assumed"] == {"byte_order": "little"}
    assert stream.recipe["arguments"]["assume"] == {"byte_order": "little"}
    with pytest.raises(SourceError, match="byte_order"):
        resolve("x", assume={"byte_order": "middle"})


def test_single_planes_become_images_of_one_sample(collection, tmp_path):
    place = collection("planar")
    [scene, _] = resolve(place, bands=["planar1"])
    [asset] = scene.assets
    image = asset.header.images[0]
    direct = parsed(tmp_path / "planar.tif").images[0]
    tiles = direct.description.chunks_across * direct.description.chunks_down
    assert asset.name == "planar1"
    assert (image.description.samples, image.description.planar) == (1, Planar.CHUNKY)
    np.testing.assert_array_equal(image.offsets, direct.offsets[tiles : 2 * tiles])


def test_images_of_several_bands_are_named_after_them_where_a_scene_has_more(collection):
    [scene, _] = resolve(collection("rgb", "planar"))
    assert [asset.name for asset in scene.assets] == ["rgb0_rgb1_rgb2", "planar0_planar1_planar2"]
    assert scene.assets[0].properties["refs:rasteret_bands"] == ["rgb0", "rgb1", "rgb2"]


def test_rows_are_searched_filtered_and_limited(collection):
    place = collection("f")
    assert [scene.id for scene in resolve(place, datetime="2024-02")] == ["s2"]
    assert [scene.id for scene in resolve(place, filter='"eo:cloud_cover" < 15')] == ["s1"]
    assert list(resolve(place, bbox=(0, 0, 1, 1))) == []
    assert len(list(resolve(place, bbox=(75.5, 13.5, 80, 20)))) == 2
    assert len(list(resolve(place, limit=1))) == 1
    with pytest.raises(SourceError, match="nir"):
        list(resolve(place, bands=["nir"]))


def test_a_collection_at_a_url_is_read_without_touching_its_images(collection, tmp_path, server):
    place = collection("f")
    content = (place / "year=2024" / "month=1" / "part-0.parquet").read_bytes()
    url = server.put("tables/part-0.parquet", content)
    server.reset()
    [scene] = resolve(url)
    assert scene.assets[0].header is not None
    assert {request.path for request in server.requests()} == {"tables/part-0.parquet"}


def test_records_that_contradict_themselves_are_refused(collection):
    place = collection("f")
    path = place / "year=2024" / "month=1" / "part-0.parquet"
    table = pq.read_table(path, partitioning=None)
    rows = table.to_pylist()
    rows[0]["f_metadata"]["tile_offsets"].pop()
    pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)
    with pytest.raises(SourceError, match="expected 20 tile offsets"):
        list(resolve(place))
