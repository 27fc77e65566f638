"""Points equal rasterio.sample; chips equal rasterio's windows, read by the batch."""

from datetime import UTC, datetime

import geopandas
import numpy as np
import pandas as pd
import pyarrow as pa
import pyproj
import pytest
import rasterio
import shapely
import shapely.geometry
from rasterio.windows import Window

import rasteret_refs as rr
from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import QueryError
from rasteret_refs.read.chips import chips
from rasteret_refs.read.places import coordinates_of
from rasteret_refs.read.points import sample_points
from tests.read.conftest import noise, set_of, write_cog


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("points")
    found = {}
    for number, crs in enumerate(["EPSG:32643", "EPSG:32643", "EPSG:32644"]):
        x = 600000.0 if number < 2 else -49000.0
        red = write_cog(
            directory / f"red_{number}.tif", noise((1, 400, 500), seed=number), origin=(x, 1500000.0), crs=crs
        )
        rgb = write_cog(
            directory / f"rgb_{number}.tif", noise((3, 200, 250), seed=9 + number), origin=(x, 1500000.0), crs=crs,
            pixel=20.0,
        )  # fmt: skip
        found[f"s{number}"] = {"red": red, "rgb": rgb}
    return found


@pytest.fixture(scope="module", params=["grids", "stack"])
def collection(request, files, tmp_path_factory):
    scenes = [
        Scene(
            id=name,
            datetime=datetime(2024, 1, 1 + number, tzinfo=UTC),
            assets=tuple(Asset(name=asset, href=str(path)) for asset, path in paths.items()),
            properties={"split": "train" if number else "test"},
        )
        for number, (name, paths) in enumerate(files.items())
    ]
    return set_of(scenes, tmp_path_factory.mktemp("sets") / f"{request.param}.refs", layout=request.param)


@pytest.fixture(scope="module")
def points():
    random = np.random.default_rng(3)
    x, y = 600000 + random.uniform(-300, 5200, 60), 1500000 - random.uniform(-300, 4200, 60)
    return np.column_stack(pyproj.Transformer.from_crs(32643, 4326, always_xy=True).transform(x, y))


def sampled(path, points):
    """rasterio's own samples, None where a point lies outside."""
    with rasterio.open(path) as file:
        x, y = pyproj.Transformer.from_crs(4326, file.crs, always_xy=True).transform(points[:, 0], points[:, 1])
        values = [tuple(v.tolist()) for v in file.sample(zip(x, y, strict=True))]
        rows, columns = rasterio.transform.rowcol(file.transform, x, y)
        inside = [0 <= r < file.height and 0 <= c < file.width for r, c in zip(rows, columns, strict=True)]
    return [value if ok else None for value, ok in zip(values, inside, strict=True)]


def row(collection, name):
    return collection.scenes["id"].to_pylist().index(name)


def test_samples_equal_rasterios(collection, files, points):
    rows = sample_points(collection.reader, collection.scenes, points).to_pylist()
    found = {(row["point"], row["id"]): row for row in rows}
    expected = {}
    for name, paths in files.items():
        for point, (red, rgb) in enumerate(
            zip(sampled(paths["red"], points), sampled(paths["rgb"], points), strict=True)
        ):
            if red is not None or rgb is not None:
                expected[point, name] = (red, rgb)
    assert found.keys() == expected.keys()
    for key, (red, rgb) in expected.items():
        row = found[key]
        assert row["red"] == (None if red is None else red[0])
        assert (row["rgb_1"], row["rgb_2"], row["rgb_3"]) == (rgb or (None, None, None))


def test_samples_keep_the_dtype(collection, points):
    assert str(sample_points(collection.reader, collection.scenes, points).schema.field("red").type) == "uint16"


@pytest.mark.parametrize(("match", "id_"), [("first", "s0"), ("latest", "s1")])
def test_one_scene_of_each_point_by_time(collection, match, id_):
    point = pyproj.Transformer.from_crs(32643, 4326, always_xy=True).transform([601234.0], [1499000.0])
    rows = sample_points(collection.reader, collection.scenes, np.column_stack(point), match=match).to_pylist()
    assert [row["id"] for row in rows] == [id_]


def test_geodataframes_bring_their_own_crs(collection, points):
    frame = geopandas.GeoDataFrame(geometry=geopandas.points_from_xy(*points.T), crs=4326).to_crs(32643)
    first = sample_points(collection.reader, collection.scenes, frame, assets=["red"])
    assert first.equals(sample_points(collection.reader, collection.scenes, points, assets=["red"]))


def test_points_and_matches_that_make_no_sense_are_refused(collection):
    with pytest.raises(QueryError, match="coordinates"):
        sample_points(collection.reader, collection.scenes, [1, 2, 3])
    with pytest.raises(QueryError, match="match="):
        sample_points(collection.reader, collection.scenes, [(1, 2)], match="some")


def test_bands_are_sampled_by_name_and_only_those(collection, files, points):
    found = collection.sample_points(points, bands=["rgb", "red"])
    assert found.column_names == ["point", "id", "datetime", "rgb_1", "rgb_2", "rgb_3", "red"]
    one = collection.sample_points(points, assets=["rgb"], bands=[2])
    assert one.column_names == ["point", "id", "datetime", "rgb_2"]
    for entry in one.to_pylist():
        expected = sampled(files[entry["id"]]["rgb"], points[entry["point"]][None])[0]
        assert entry["rgb_2"] == (None if expected is None else expected[1])


XY = [(75.93, 13.55), (75.94, 13.54)]
SHAPES = [shapely.Point(*place) for place in XY]


@pytest.mark.parametrize(
    "form",
    [
        XY, np.array(XY), SHAPES, geopandas.GeoSeries(SHAPES), geopandas.points_from_xy(*zip(*XY, strict=True)),
        [shapely.to_wkb(one) for one in SHAPES], pa.array([shapely.to_wkb(one) for one in SHAPES]),
        shapely.MultiPoint(XY), [shapely.geometry.mapping(one) for one in SHAPES],
        {"type": "FeatureCollection",
         "features": [{"type": "Feature", "geometry": shapely.geometry.mapping(one)} for one in SHAPES]},
        pd.DataFrame({"lat": [y for _, y in XY], "lon": [x for x, _ in XY], "name": ["a", "b"]}),
        pa.table({"y": [y for _, y in XY], "x": [x for x, _ in XY]}),
        {"Longitude": [x for x, _ in XY], "Latitude": [y for _, y in XY]},
        pa.table({"geometry": [shapely.to_wkb(one) for one in SHAPES], "x": [1, 2]}),
    ],
)  # fmt: skip
def test_points_come_in_any_form_and_keep_their_order(form):
    found, crs = coordinates_of(form)
    np.testing.assert_allclose(found, XY, rtol=0, atol=1e-12)
    assert crs.to_epsg() == 4326


def test_one_point_is_a_batch_of_one_and_a_missing_one_is_nowhere():
    assert coordinates_of(XY[0])[0].tolist() == [list(XY[0])]
    assert coordinates_of(SHAPES[0])[0].tolist() == [list(XY[0])]
    found = coordinates_of(geopandas.GeoSeries([SHAPES[0], None, shapely.Point()], crs=3857))
    assert np.isnan(found[0]).all(axis=1).tolist() == [False, True, True]
    assert found[1].to_epsg() == 3857


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([1, 2, 3], "coordinates"), (["a", "b"], "expected points"), ([shapely.box(0, 0, 1, 1)], "found a Polygon"),
        (pd.DataFrame({"a": [1.0], "b": [2.0]}), r"lon, longitude.*\['a', 'b'\]"),
        (pd.DataFrame({"x": [1.0], "lon": [2.0], "y": [1.0]}), "one of each"),
    ],
)  # fmt: skip
def test_what_says_no_place_is_refused(points, message):
    with pytest.raises(QueryError, match=message):
        coordinates_of(points)


def test_longitudes_are_the_same_a_full_turn_on(tmp_path):
    world = write_cog(tmp_path / "w.tif", noise((1, 180, 360)), origin=(0, 90), pixel=1, crs="EPSG:4326")
    refs = rr.build([str(world)], tmp_path / "w.refs")
    with rasterio.open(world) as file:
        expected = [value[0] for value in file.sample([(350.5, 10.5), (20.5, -3.5)])]
    assert refs.sample_points([(-9.5, 10.5), (20.5, -3.5)])["image"].to_pylist() == expected


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_images_without_georeference_have_chips_but_no_points(tmp_path):
    assets = []
    for name, size in (("photo", 200), ("label", 200), ("small", 100)):
        pixels = noise((1, size, size), seed=size + len(name))
        with rasterio.open(
            tmp_path / f"{name}.tif", "w", driver="GTiff", dtype="uint16", count=1, width=size, height=size
        ) as file:
            file.write(pixels)
        assets.append(Asset(name=name, href=str(tmp_path / f"{name}.tif")))
    scene = Scene(id="a", datetime=datetime(2024, 1, 1, tzinfo=UTC), assets=tuple(assets), properties={})
    refs = set_of([scene], tmp_path / "x.refs")
    found = refs.chips(64, assets=["photo", "label"]).read([4])
    for name in ("photo", "label"):
        with rasterio.open(tmp_path / f"{name}.tif") as file:
            np.testing.assert_array_equal(found[name][0], file.read(1, window=Window(64, 64, 64, 64)))
    with pytest.raises(QueryError, match="images of one size"):
        refs.chips(64).read([0])
    with pytest.raises(QueryError, match="georeferenced"):
        refs.sample_points([(1, 2)])


def test_chips_that_do_not_exist_are_refused(collection):
    found = collection.chips(64, assets="red")
    for wrong in ([len(found)], [-1], 3, [0.5]):
        with pytest.raises(QueryError, match="expected numbers of"):
            found.read(wrong)
    assert found.read([])["red"].shape == (0, 64, 64)
    with pytest.raises(QueryError, match="found 'nothing'"):
        collection.chips(64, columns=["nothing"])
    with pytest.raises(QueryError, match="at least one pixel"):
        collection.chips("64")


def test_chips_equal_rasterios_windows(collection, files):
    found = chips(collection.reader, collection.scenes, size=64, stride=100, columns=["split"])
    assert len(found) == 3 * 4 * 5
    picks = [0, 7, 22, 45, 59]
    pixels = found.read(picks)
    assert pixels["red"].shape == (5, 64, 64)
    assert pixels["rgb"].shape == (5, 3, 64, 64)
    for number, row in enumerate(found.table.take(picks).to_pylist()):
        with rasterio.open(files[row["id"]]["red"]) as file:
            expected = file.read(1, window=Window(row["column"], row["row"], 64, 64))
        np.testing.assert_array_equal(pixels["red"][number], expected)
        with rasterio.open(files[row["id"]]["rgb"]) as file:
            whole = file.read().repeat(2, axis=1).repeat(2, axis=2)
        expected = whole[:, row["row"] : row["row"] + 64, row["column"] : row["column"] + 64]
        np.testing.assert_array_equal(pixels["rgb"][number], expected)
        assert row["split"] == ("test" if row["id"] == "s0" else "train")


def test_chips_beyond_the_edge_are_filled(collection, files):
    found = chips(collection.reader, collection.scenes, size=32, assets=["red"])
    pixels = found.windows([row(collection, "s0"), row(collection, "s1")], [-10, 390], [-5, 495])["red"]
    with rasterio.open(files["s0"]["red"]) as file:
        np.testing.assert_array_equal(pixels[0, 10:, 5:], file.read(1, window=Window(0, 0, 27, 22)))
    assert pixels[0, :10].sum() == pixels[0, :, :5].sum() == 0
    with rasterio.open(files["s1"]["red"]) as file:
        np.testing.assert_array_equal(pixels[1, :10, :5], file.read(1, window=Window(495, 390, 5, 10)))
    assert pixels[1, 10:].sum() == pixels[1, :, 5:].sum() == 0


def test_odd_corners_of_coarser_assets_are_cut_rightly(collection, files):
    found = chips(collection.reader, collection.scenes, size=31)
    pixels = found.windows([row(collection, "s1")], [33], [77])["rgb"][0]
    with rasterio.open(files["s1"]["rgb"]) as file:
        whole = file.read().repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_array_equal(pixels, whole[:, 33:64, 77:108])
