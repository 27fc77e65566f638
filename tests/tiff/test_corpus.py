"""Real TIFFs: tags as tifffile reads them, georeferencing, overviews, masks and nodata as rasterio does."""

import csv
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.enums import MaskFlags
from rasterio.errors import NotGeoreferencedWarning, RasterioIOError

from rasteret_refs.errors import TiffError
from rasteret_refs.tiff.chunks import check_extents
from rasteret_refs.tiff.gdal import eight_bit_colors, gdal_metadata, nodata_value
from rasteret_refs.tiff.georeference import georeference
from rasteret_refs.tiff.values import Planar, TiffFile
from rasteret_refs.virtual.pyramid import pyramids
from tests.tiff.reading import manifest, parsed
from tests.tiff.test_georeference import assert_same_transform, same_crs

pytestmark = pytest.mark.filterwarnings("ignore", category=NotGeoreferencedWarning)

SAME_SIZE_OVERVIEW = "files/cogeotiff+rio-cogeo/image_dec.tif"
"""GDAL lists an overview as large as its image, of factor 1: it would be the full resolution once more."""


def read(corpus: Path, row: dict[str, str]) -> TiffFile:
    data = (corpus / row["path"]).read_bytes()
    file = parsed(data)
    for image in file.images:
        check_extents(image, len(data))
    return file


def opened(corpus: Path, row: dict[str, str]) -> rasterio.DatasetReader:
    return rasterio.open(corpus / row["path"])


@pytest.fixture
def alone():
    """GDAL looks at the TIFF alone: no side-car files."""
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", GDAL_PAM_ENABLED="NO"):
        yield


def decodable(corpus: Path) -> list[dict[str, str]]:
    return [row for row in manifest(corpus) if row["decodes_in_rasterio"] == "True"]


def test_every_file_that_rasterio_or_tifffile_decodes_parses_unless_it_is_corrupt(corpus):
    refused = []
    for row in manifest(corpus):
        if row["kind"] == "corrupt" or "True" not in (row["decodes_in_rasterio"], row["decodes_in_tifffile"]):
            continue
        try:
            read(corpus, row)
        except TiffError as error:
            refused.append((row["path"], str(error)))
    assert refused == []


def test_corrupt_files_give_a_typed_error_or_references_inside_the_file_within_a_second(corpus):
    rows = [row for row in manifest(corpus) if row["kind"] == "corrupt"]
    assert len(rows) > 20
    for row in rows:
        begin = time.perf_counter()
        try:
            read(corpus, row)
        except TiffError as error:
            assert str(error)  # noqa: PT017 - any of the tree will do
        assert time.perf_counter() - begin < 1, row["path"]


def test_full_resolution_images_are_those_that_the_decoders_see(corpus):
    with (corpus / "expected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    expected: dict[str, list[int]] = {}
    for row in rows:
        expected.setdefault(row["path"], []).append(int(row["ifd_offset"]))
    kinds = {row["path"]: row["kind"] for row in manifest(corpus)}
    for path, offsets in expected.items():
        if kinds[path] == "corrupt":
            continue
        found = [pyramid.levels[0].image.ifd_offset for pyramid in pyramids(parsed((corpus / path).read_bytes()))]
        assert set(offsets) <= set(found), path


def test_tags_equal_those_that_tifffile_reads(corpus):
    compared = 0
    for row in manifest(corpus):
        if row["decodes_in_tifffile"] != "True" or row["kind"] == "corrupt" or "ifd_loop" in row["path"]:
            continue
        file = read(corpus, row)
        by_offset = {image.ifd_offset: image for image in file.images}
        with tifffile.TiffFile(corpus / row["path"]) as source:
            assert source.byteorder == file.byte_order
            assert source.is_bigtiff == file.big
            for page in source.pages[:8]:
                image = by_offset.get(page.offset)
                if image is None:
                    assert page.offset in dict(file.refused), row["path"]
                    continue
                compare(page, image)
                compared += 1
    assert compared > 200


def compare(page: tifffile.TiffPage, image) -> None:
    found = image.description
    assert (found.width, found.height, found.samples) == (page.imagewidth, page.imagelength, page.samplesperpixel)
    assert (found.bits, found.compression, found.tiled) == (page.bitspersample, page.compression, page.is_tiled)
    assert found.page_type == page.subfiletype
    if found.samples > 1:
        assert (found.planar is Planar.SEPARATE) == (page.planarconfig == 2)
    if found.tiled:
        assert (found.chunk_width, found.chunk_height) == (page.tilewidth, page.tilelength)
    else:
        assert found.chunk_height == min(page.rowsperstrip, page.imagelength)
    if found.predictor != 1:
        assert found.predictor == page.predictor
    stored = image.byte_counts > 0
    offsets = np.asarray(page.dataoffsets, np.int64)[: len(image.offsets)]
    np.testing.assert_array_equal(image.offsets[stored], offsets[stored])
    if found.compression != 1:
        np.testing.assert_array_equal(image.byte_counts, np.asarray(page.databytecounts, np.int64)[: len(stored)])


@pytest.mark.usefixtures("alone")
def test_crs_and_transform_equal_those_that_rasterio_reads(corpus):
    compared, wrong = 0, []
    for row in decodable(corpus):
        file = parsed((corpus / row["path"]).read_bytes())
        found = georeference(file.images[0].description)
        with opened(corpus, row) as source:
            gcps, gcp_crs = source.gcps
            if found is None:
                assert source.crs is None
                assert source.transform.is_identity
                assert not gcps
                continue
            compared += 1
            if not same_crs(found.crs_wkt, source.crs or gcp_crs):
                wrong.append((row["path"], found.crs_wkt, found.crs_problem))
            if found.transform is None:
                assert [(p.col, p.row, p.x, p.y, p.z) for p in gcps] == list(found.gcps)
            else:
                assert_same_transform(found, source)
    assert compared > 100
    assert wrong == []


@pytest.mark.usefixtures("alone")
def test_overviews_and_masks_equal_those_that_rasterio_lists(corpus):
    with_overviews = with_masks = 0
    for row in decodable(corpus):
        if row["path"] == SAME_SIZE_OVERVIEW:
            continue
        pyramid = pyramids(parsed((corpus / row["path"]).read_bytes()))[0]
        with opened(corpus, row) as source:
            expected = sorted(source.overviews(1))
            flags = source.mask_flag_enums[0]
        assert [level.factor for level in pyramid.levels[1:]] == pytest.approx(expected, abs=1), row["path"]
        masked = MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags
        assert (pyramid.levels[0].mask is not None) == masked, row["path"]
        sizes = [(level.image.description.width, level.image.description.height) for level in pyramid.levels[1:]]
        theirs = []
        for number in range(len(expected)):
            with rasterio.open(corpus / row["path"], overview_level=number) as source:
                theirs.append((source.width, source.height))
        assert sizes == sorted(theirs, reverse=True), row["path"]
        with_overviews += bool(expected)
        with_masks += masked
    assert with_overviews > 50
    assert with_masks >= 7


@pytest.mark.usefixtures("alone")
def test_nodata_and_facts_of_bands_equal_those_that_rasterio_reads(corpus):
    compared = 0
    for row in decodable(corpus):
        found = parsed((corpus / row["path"]).read_bytes()).images[0].description
        metadata = gdal_metadata(found.gdal_metadata or "")
        with opened(corpus, row) as source:
            dtype = "complex64" if source.dtypes[0].startswith("complex_") else source.dtypes[0]
            nodata = nodata_value(found, dtype)
            if source.nodata is None:
                assert nodata is None, row["path"]
            else:
                compared += 1
                np.testing.assert_equal(np.asarray(nodata, dtype), np.asarray(source.nodata).astype(dtype), row["path"])
            for band in range(source.count):
                facts = metadata.band(band)
                assert (1.0 if facts.scale is None else facts.scale) == source.scales[band], row["path"]
                assert (facts.offset or 0.0) == source.offsets[band], row["path"]
                assert facts.description == source.descriptions[band], row["path"]
                assert dict(facts.items.get("", {})) == source.tags(band + 1), row["path"]
    assert compared > 40


@pytest.mark.usefixtures("alone")
def test_colour_maps_have_the_entries_that_rasterio_reads(corpus):
    compared = 0
    for row in decodable(corpus):
        found = parsed((corpus / row["path"]).read_bytes()).images[0].description
        if found.color_map is None or found.photometric != 3:
            continue
        with opened(corpus, row) as source:
            try:
                theirs = source.colormap(1)
            except (RasterioIOError, ValueError):
                continue
        ours = {value: tuple(color) for value, color in enumerate(eight_bit_colors(found.color_map).tolist())}
        assert ours == {value: color[:3] for value, color in theirs.items()}, row["path"]
        compared += 1
    assert compared > 3
