"""GDAL_METADATA and GDAL_NODATA against what rasterio reads of files that it wrote."""

import math
import pickle

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.errors import NotGeoreferencedWarning

from rasteret_refs.tiff.gdal import GdalMetadata, gdal_metadata, nodata_value
from tests.tiff.builder import ASCII, build, gray
from tests.tiff.reading import described

pytestmark = pytest.mark.filterwarnings("ignore", category=NotGeoreferencedWarning)


def test_facts_of_bands_and_of_the_image_are_those_that_were_written(tmp_path):
    path = tmp_path / "facts.tif"
    with rasterio.open(path, "w", driver="GTiff", width=4, height=3, count=3, dtype="int16") as target:
        target.write(np.zeros((3, 3, 4), "int16"))
        target.scales, target.offsets = (1.0, 2.75e-05, 3.0), (0.0, -0.2, 5.0)
        target.descriptions, target.units = ("red", "near <infrared> & more", ""), ("", "µm", "K")
        target.update_tags(one="1", quoted='<a>"&')
        target.update_tags(ns="OTHER", two="2")
        target.update_tags(2, wavelength="865")
        target.update_tags(2, ns="BANDS", deep="x")
    metadata = gdal_metadata(described(path.read_bytes()).gdal_metadata)
    with rasterio.open(path) as source:
        for band in range(3):
            found = metadata.band(band)
            assert (1.0 if found.scale is None else found.scale) == source.scales[band]
            assert (found.offset or 0.0) == source.offsets[band]
            assert found.description == source.descriptions[band]
            assert (found.unit or None) == source.units[band]
            assert found.items.get("", {}) == source.tags(band + 1)
        assert metadata.band(1).items["BANDS"] == source.tags(2, ns="BANDS")
        assert metadata.dataset["OTHER"] == source.tags(ns="OTHER")
        assert metadata.dataset[""] == {k: v for k, v in source.tags().items() if k != "AREA_OR_POINT"}
    assert metadata.problem is None
    assert pickle.loads(pickle.dumps(metadata)) == metadata  # noqa: S301 - our own value


def test_xml_inside_an_item_is_kept_as_it_stands():
    inner = '<x:xmpmeta xmlns:x="adobe"><a b="1">t &lt;</a></x:xmpmeta>'
    text = f'<GDALMetadata><Item name="doc" domain="xml:XMP" format="xml">{inner}</Item></GDALMetadata>'
    assert gdal_metadata(text).dataset == {"xml:XMP": {"doc": inner}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('<!DOCTYPE d [<!ENTITY e "x">]><GDALMetadata><Item name="a">&e;</Item></GDALMetadata>', "document type"),
        ("<GDALMetadata><Item name='a'>1</Item>", "not well-formed"),
        ("hello", "not well-formed"),
        ("<a>" * 40 + "</a>" * 40, "nested deeper"),
        ('<GDALMetadata><Item name="a" sample="-1">1</Item></GDALMetadata>', "sample '-1'"),
        ('<GDALMetadata><Item name="a" sample="999999999">1</Item></GDALMetadata>', "sample '999999999'"),
    ],
)
def test_dangerous_or_broken_xml_is_named_and_never_expanded(text, problem):
    found = gdal_metadata(text)
    assert problem in found.problem
    assert found.band(0).items == {}


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: data.decode("latin-1")))
def test_no_text_makes_it_raise(text):
    assert isinstance(gdal_metadata(text), GdalMetadata)
    assert isinstance(gdal_metadata(f'<GDALMetadata><Item name="a" sample="0" role="scale">{text}'), GdalMetadata)


def test_an_empty_text_says_nothing():
    assert gdal_metadata("") == GdalMetadata()
    assert gdal_metadata("\0 \n") == GdalMetadata()


def nodata(text: str, dtype: str):
    return nodata_value(described(build(gray(t42113=(ASCII, text.encode() + b"\0")))), dtype)


@pytest.mark.parametrize(
    ("text", "dtype", "expected"),
    [
        ("0", "uint8", 0),
        ("255", "uint8", 255),
        ("255.0", "uint8", 255),
        ("1e2", "uint8", 100),
        (" -9999 ", "int16", -9999),
        ("-9999", "uint8", None),
        ("256", "uint8", None),
        ("0.5", "uint8", None),
        ("nan", "uint8", None),
        ("9007199254740993", "int64", 9007199254740993),
        ("18446744073709551615", "uint64", 18446744073709551615),
        ("18446744073709551616", "uint64", None),
        ("-9223372036854775808", "int64", -9223372036854775808),
        ("inf", "float32", math.inf),
        ("-INF", "float64", -math.inf),
        ("-3.4028234663852886e+38", "float32", -3.4028234663852886e38),
        ("-3.402823466385289e+38", "float32", -3.4028234663852886e38),
        ("-1.7976931348623157e+308", "float64", -1.7976931348623157e308),
        ("-1.7976931348623157e+308", "float32", None),
        ("1e39", "float32", None),
        ("70000", "float16", None),
        ("0.1", "float32", float(np.float32(0.1))),
        ("-9999", "complex64", complex(-9999)),
        ("none", "float32", None),
        ("", "float32", None),
    ],
)
def test_nodata_is_a_value_that_pixels_can_have_or_nothing(text, dtype, expected):
    found = nodata(text, dtype)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan", "+NAN", "nan(0x1)", "1.#QNAN", "-1.#IND"])
def test_every_spelling_of_nan_is_nan(text):
    assert math.isnan(nodata(text, "float32"))


def test_without_the_tag_there_is_no_nodata():
    assert nodata_value(described(build(gray())), "uint8") is None


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("uint8", 7), ("int16", -1), ("float32", -3.4e38), ("float64", math.nan)],
)
def test_nodata_equals_what_rasterio_reads(tmp_path, dtype, value):
    path = tmp_path / "nodata.tif"
    with rasterio.open(path, "w", driver="GTiff", width=2, height=2, count=1, dtype=dtype, nodata=value) as target:
        target.write(np.zeros((1, 2, 2), dtype))
    with rasterio.open(path) as source:
        theirs = np.dtype(dtype).type(source.nodata)
    np.testing.assert_equal(np.dtype(dtype).type(nodata_value(described(path.read_bytes()), dtype)), theirs)
