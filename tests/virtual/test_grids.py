"""Grids: labels, identity and the axes that readers see."""

import numcodecs
import numpy as np
import pytest
import zarr

from rasteret_refs.errors import LayoutError
from rasteret_refs.virtual.coordinates import band_labels, pixel_centres, scene_coordinate
from rasteret_refs.virtual.grids import Grid

UTM = (10.0, 0.0, 600000.0, 0.0, -10.0, 1500000.0)


def grid(crs="EPSG:32643", transform=UTM, shape=(10980, 10980), gcps=()):
    return Grid(crs=crs, transform=transform, gcps=gcps, height=shape[0], width=shape[1])


@pytest.mark.parametrize(
    ("found", "label"),
    [
        (grid(), "32643_600000_1500000_10"),
        (grid("EPSG:4326", (1 / 3600, 0, 77.5, 0, -1 / 3600, 13.25)), "4326_77.5_13.25_0.0002777777778"),
        (grid("EPSG:4326", (1e-7, 0, -0.0, 0, -1e-7, 1e-13)), "4326_0_0_0.0000001"),
        (grid("EPSG:3857", (10.0, 0.0, 5.0, 0.0, -20.0, -6.0)), "3857_5_-6_10x20"),
        (grid(None), "nocrs_600000_1500000_10"),
        (grid(None, None), "pixels_10980x10980"),
        (grid("EPSG:4326", None, gcps=((0, 0, 1, 2, 3),)), "gcps_10980x10980"),
    ],
)
def test_labels_say_crs_corner_and_resolution(found, label):
    assert found.label() == label


def test_identity_is_crs_transform_and_shape():
    assert grid().identity == grid().identity
    others = [grid("EPSG:32644"), grid(transform=(*UTM[:5], 1500001.0)), grid(shape=(1, 2)), grid(None)]
    assert len({found.identity for found in (grid(), *others)}) == 5


@pytest.mark.parametrize(
    "transform", [UTM, (1 / 3600, 0.0, 77.123456789, 0.0, -1 / 3600, 13.1), (0.1, 0, -180, 0, 0.3, 1e-9)]
)
def test_axes_are_exact_after_a_round_trip_through_their_codecs(transform):
    for axis in pixel_centres(transform, (1000, 1200), (500, 600), None):
        codecs = [numcodecs.get_codec(dict(config)) for config in (*axis.filters, axis.compressor)]
        store = zarr.storage.MemoryStore()
        array = zarr.create_array(
            store,
            shape=axis.values.shape,
            chunks=axis.values.shape,
            dtype="<f8",
            zarr_format=2,
            filters=codecs[:-1],
            compressors=codecs[-1],
            fill_value=None,
        )
        array[:] = axis.values
        np.testing.assert_array_equal(zarr.open_array(store, mode="r")[:], axis.values)


def test_axes_of_utm_grids_take_hardly_any_bytes():
    x, _ = pixel_centres(UTM, (10980, 10980), (10980, 10980), None)
    data = numcodecs.get_codec(dict(x.filters[0])).encode(x.values)
    assert len(numcodecs.get_codec(dict(x.compressor)).encode(data)) < 200


@pytest.mark.parametrize(
    ("descriptions", "labels"),
    [
        ((None, None, ""), [1, 2, 3]),
        (("red", None, "nir"), ["red", "band_2", "nir"]),
        (("a", "a", "a_2"), ["a_1", "a_2", "a_2_3"]),
    ],
)
def test_band_labels_are_distinct(descriptions, labels):
    assert band_labels(descriptions).tolist() == labels


def test_texts_have_headroom_and_keep_the_room_that_they_had():
    assert scene_coordinate("id", ["a" * 20], axis="scene").values.dtype == "<U32"
    assert scene_coordinate("id", ["a" * 30], 32, axis="scene").values.dtype == "<U32"
    assert scene_coordinate("id", ["a" * 33], 32, axis="scene").values.dtype == "<U48"


@pytest.mark.parametrize(
    "values",
    [
        np.array([1, "a"], object),
        np.array([b"x", None], object),
        np.array([{}, []], object),
        np.array(["NaT"], "M8[us]"),
    ],
)
def test_columns_that_no_fixed_width_dtype_holds_are_refused_by_name(values):
    with pytest.raises(LayoutError, match="'mine'"):
        scene_coordinate("mine", values, axis="scene")
