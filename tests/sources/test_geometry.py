"""Footprints and boxes, compared with shapely; times, compared with the standard library."""

from datetime import UTC, datetime

import hypothesis.strategies as st
import pytest
import shapely
from hypothesis import given

from rasteret_refs.errors import SourceError
from rasteret_refs.sources.geometry import boxes_overlap, geojson_bbox, horizontal, wkb_from_bbox, wkb_from_geojson
from rasteret_refs.sources.times import overlaps, parse_datetime, parse_interval
from rasteret_refs.sources.wkb import wkb_bounds

SHAPES = [
    "POINT (1 2)",
    "POINT Z (1 2 3)",
    "LINESTRING (0 0, 1 1, 2 0)",
    "POLYGON ((0 0, 4 0, 4 4, 0 4, 0 0), (1 1, 2 1, 2 2, 1 1))",
    "POLYGON Z ((0 0 9, 4 0 9, 4 4 9, 0 0 9))",
    "MULTIPOINT (1 2, 3 4)",
    "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))",
    "MULTIPOLYGON (((0 0, 1 0, 1 1, 0 0)), ((5 5, 6 5, 6 6, 5 5)))",
    "GEOMETRYCOLLECTION (POINT (1 2), POLYGON ((0 0, 1 0, 1 1, 0 0)))",
]


@pytest.mark.parametrize("text", SHAPES)
def test_geojson_becomes_the_same_geometry_in_two_dimensions(text):
    shape = shapely.from_wkt(text)
    assert shapely.from_wkb(wkb_from_geojson(shapely.geometry.mapping(shape))).equals_exact(shapely.force_2d(shape), 0)
    assert geojson_bbox(shapely.geometry.mapping(shape)) == shape.bounds


@pytest.mark.parametrize("text", [*SHAPES, "POINT M (1 2 3)", "POINT ZM (1 2 3 4)"])
@pytest.mark.parametrize("flavor", ["iso", "extended"])
@pytest.mark.parametrize("order", [0, 1])
def test_bounds_of_wkb_equal_shapelys(text, flavor, order):
    shape = shapely.set_srid(shapely.from_wkt(text), 4326 if flavor == "extended" else 0)
    wkb = shapely.to_wkb(shape, output_dimension=4, flavor=flavor, byte_order=order, include_srid=flavor == "extended")
    assert wkb_bounds(wkb) == shape.bounds


def test_empty_geometries_have_no_bounds():
    assert wkb_bounds(shapely.to_wkb(shapely.from_wkt("POINT EMPTY"))) is None
    assert wkb_bounds(shapely.to_wkb(shapely.from_wkt("POLYGON EMPTY"))) is None


@pytest.mark.parametrize(
    "wkb", [b"", b"\x01", b"\x07\x01\0\0\0", b"\x01\x63\0\0\0\0\0\0\0", b"\x01\x02\0\0\0\xff\xff\0\0"]
)
def test_what_is_no_wkb_is_refused(wkb):
    with pytest.raises(SourceError):
        wkb_bounds(wkb)


@pytest.mark.parametrize(
    "geometry", [{}, {"type": "Blob"}, {"type": "Polygon", "coordinates": [[["a", "b"]]]}, {"type": "Point"}]
)
def test_what_is_no_geojson_is_refused(geometry):
    with pytest.raises(SourceError):
        wkb_from_geojson(geometry)


def test_a_box_across_the_antimeridian_becomes_two_polygons():
    shape = shapely.from_wkb(wkb_from_bbox((170, -10, -170, 10)))
    assert shape.equals(shapely.union(shapely.box(170, -10, 180, 10), shapely.box(-180, -10, -170, 10)))
    assert shapely.from_wkb(wkb_from_bbox((1, 2, 0, 3, 4, 9))).equals(shapely.box(1, 2, 3, 4))
    with pytest.raises(SourceError):
        horizontal((1, 2, 3))


LONGITUDE = st.integers(-180, 180)
BOX = st.tuples(LONGITUDE, st.integers(-90, 0), LONGITUDE, st.integers(0, 90)).map(lambda box: tuple(map(float, box)))


@given(BOX, BOX)
def test_boxes_overlap_as_their_shapes_intersect(one, other):
    def shape(box):
        west, south, east, north = box
        if west <= east:
            return shapely.box(*box)
        return shapely.union(shapely.box(west, south, 180, north), shapely.box(-180, south, east, north))

    assert boxes_overlap(one, other) == shape(one).intersects(shape(other))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-02T03:04:05Z", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02T03:04:05.123456789Z", datetime(2024, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)),
        ("2024-01-02t05:04:05+02:00", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02 03:04:05", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2024-01-02", datetime(2024, 1, 2, tzinfo=UTC)),
    ],
)
def test_times_are_read_with_their_zone(text, expected):
    assert parse_datetime(text) == expected


@pytest.mark.parametrize("value", ["soon", 7, None, ""])
def test_what_is_no_time_is_refused(value):
    with pytest.raises(SourceError):
        parse_datetime(value)


def test_partial_dates_stand_for_their_whole_length():
    assert parse_interval("2024-02") == (
        datetime(2024, 2, 1, tzinfo=UTC),
        datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC),
    )
    assert parse_interval("2024/..") == (datetime(2024, 1, 1, tzinfo=UTC), None)
    assert parse_interval(["2024-01-01T00:00:00Z", None])[1] is None
    assert overlaps(None, None, (None, None)) is False
