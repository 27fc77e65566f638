"""Footprints from a TIFF's own grid, against rasterio's warp and shapely."""

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform_bounds

from rasteret_refs.build.footprint import footprints
from tests.build.test_scan import scan_all, scene


def footprint_of(tmp_path, crs, transform, size=(100, 80)):
    path = tmp_path / "a.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "width": size[0], "height": size[1]}
    with rasterio.open(path, "w", **profile, crs=crs, transform=transform) as file:
        file.write(np.zeros((1, size[1], size[0]), "uint8"))
        bounds = file.bounds
    (result,) = scan_all([scene("s", path)])
    (wkb,) = footprints([result.assets])
    return (None if wkb is None else shapely.from_wkb(wkb)), bounds


@pytest.mark.parametrize(
    ("crs", "transform"),
    [
        ("EPSG:32643", from_origin(600000, 1500000, 1000, 1000)),
        ("EPSG:4326", from_origin(5.5, 47.25, 0.01, 0.02)),
        ("EPSG:3857", from_origin(-8e6, 5e6, 500, 500)),
        ("EPSG:32643", Affine(1000, 0, 600000, 0, 1000, 1500000)),
    ],
    ids=["utm", "geographic", "mercator", "south-up"],
)
def test_a_footprint_covers_what_rasterio_says_the_image_covers(tmp_path, crs, transform):
    found, bounds = footprint_of(tmp_path, crs, transform)
    expected = transform_bounds(crs, "EPSG:4326", *bounds, densify_pts=7)
    assert found.is_valid
    assert found.bounds == pytest.approx(expected, abs=0.002)


def test_a_rotated_image_has_a_rotated_footprint(tmp_path):
    transform = Affine.translation(600000, 1500000) @ Affine.rotation(30) @ Affine.scale(1000, -1000)
    found, _ = footprint_of(tmp_path, "EPSG:32643", transform)
    corners = [transform @ corner for corner in [(0, 0), (100, 0), (100, 80), (0, 80)]]
    from rasterio.warp import transform as warp

    lon, lat = warp("EPSG:32643", "EPSG:4326", *zip(*corners, strict=True))
    for point in zip(lon, lat, strict=True):
        assert found.exterior.distance(shapely.Point(point)) < 1e-6  # a tenth of a metre


def test_an_image_across_the_antimeridian_becomes_two_polygons(tmp_path):
    found, _ = footprint_of(tmp_path, "EPSG:32601", from_origin(200000, 6000000, 1000, 1000), (200, 80))
    assert found.is_valid
    assert found.geom_type == "MultiPolygon"
    west, east = sorted(found.geoms, key=lambda part: part.bounds[0])
    assert west.bounds[0] == -180
    assert east.bounds[2] == 180
    assert west.bounds[2] < -170
    assert east.bounds[0] > 170


def test_an_image_around_a_pole_reaches_it(tmp_path):
    found, _ = footprint_of(tmp_path, "EPSG:3413", from_origin(-1e6, 1e6, 20000, 20000), (100, 100))
    assert found.bounds[0] == -180
    assert found.bounds[2:] == (180, 90)


def test_an_image_without_crs_has_no_footprint(tmp_path):
    assert footprint_of(tmp_path, None, from_origin(0, 80, 1, 1))[0] is None
