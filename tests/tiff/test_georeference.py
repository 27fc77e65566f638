"""CRS and transform against what GDAL reads from the same bytes (rasterio)."""

import math

import numpy as np
import pyproj
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning

from rasteret_refs.tiff.georeference import georeference
from rasteret_refs.tiff.values import Georeference, GeoTags
from tests.tiff.builder import ASCII, DOUBLE, SHORT, build, gray
from tests.tiff.reading import described

pytestmark = pytest.mark.filterwarnings("ignore", category=NotGeoreferencedWarning)

REGISTERED = [
    "EPSG:4326", "EPSG:4269", "EPSG:4807", "EPSG:4979", "EPSG:4978", "EPSG:3857", "EPSG:32633", "EPSG:32733",
    "EPSG:2154", "EPSG:3035", "EPSG:5070", "EPSG:3031", "EPSG:3413", "EPSG:3995", "EPSG:5041", "EPSG:27700",
    "EPSG:27572", "EPSG:2193", "EPSG:28992", "EPSG:2056", "EPSG:2263", "EPSG:2048", "EPSG:5514", "EPSG:3375",
    "EPSG:6933", "EPSG:4087", "EPSG:8857", "EPSG:7415", "EPSG:4326+5773", "EPSG:26985+6360", "ESRI:54009",
    "ESRI:54030", "ESRI:102008", "ESRI:104905", "IAU_2015:49900",
]  # fmt: skip
USER_DEFINED = [
    "+proj=sinu +lon_0=0 +R=6371007.181 +units=m",
    "+proj=geos +h=35785863 +lon_0=-75 +sweep=x +ellps=GRS80",
    "+proj=geos +h=35785863 +lon_0=0 +sweep=y +ellps=WGS84",
    "+proj=tmerc +lat_0=10 +lon_0=20 +k=0.9 +x_0=1000 +y_0=2000 +ellps=bessel +towgs84=1,2,3,4,5,6,7",
    "+proj=tmerc +lat_0=0 +lon_0=9 +k=1 +x_0=3500000 +ellps=bessel +units=ft",
    "+proj=utm +zone=33 +south +ellps=intl +towgs84=-87,-98,-121",
    "+proj=lcc +lat_1=45 +lat_0=45 +lon_0=3 +k_0=0.99 +ellps=GRS80",
    "+proj=lcc +lat_1=30 +lat_2=60 +lat_0=45 +lon_0=3 +units=us-ft +datum=NAD83",
    "+proj=aea +lat_1=20 +lat_2=60 +lat_0=40 +lon_0=-96 +datum=NAD27",
    "+proj=laea +lat_0=90 +lon_0=0 +datum=WGS84",
    "+proj=stere +lat_0=90 +lat_ts=70 +lon_0=-45 +datum=WGS84",
    "+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=0 +a=6378273 +b=6356889.449",
    "+proj=stere +lat_0=90 +lat_ts=60 +lon_0=10 +R=6370040 +units=km",
    "+proj=stere +lat_0=40 +lon_0=10 +k=0.99 +datum=WGS84",
    "+proj=sterea +lat_0=52 +lon_0=5 +k=0.9999 +ellps=bessel",
    "+proj=merc +lat_ts=33 +lon_0=5 +datum=WGS84",
    "+proj=merc +k=0.9 +lon_0=5 +datum=WGS84",
    "+proj=omerc +lat_0=4 +lonc=115 +alpha=53 +gamma=53 +k=0.99 +ellps=evrst30",
    "+proj=omerc +no_uoff +lat_0=4 +lonc=115 +alpha=53 +gamma=50 +k=0.99 +ellps=evrst30",
    "+proj=eqc +lat_ts=30 +lon_0=10 +R=3396190",
    "+proj=eqdc +lat_1=20 +lat_2=60 +lat_0=40 +lon_0=-96 +datum=WGS84",
    "+proj=aeqd +lat_0=49 +lon_0=2 +datum=WGS84",
    "+proj=cass +lat_0=49 +lon_0=2 +datum=WGS84",
    "+proj=gnom +lat_0=49 +lon_0=2 +datum=WGS84",
    "+proj=mill +lon_0=2 +datum=WGS84",
    "+proj=ortho +lat_0=49 +lon_0=2 +R=6370000",
    "+proj=poly +lat_0=0 +lon_0=-54 +ellps=GRS80",
    "+proj=robin +lon_0=10 +datum=WGS84",
    "+proj=vandg +lon_0=10 +R=6371000",
    "+proj=cea +lat_ts=30 +lon_0=0 +datum=WGS84",
    "+proj=nzmg",
    "+proj=longlat +R=3396190",
    "+proj=longlat +ellps=bessel +pm=paris",
]
PLACE = {33550: (DOUBLE, [10.0, 10.0, 0.0]), 33922: (DOUBLE, [0.0, 0, 0, 500.0, 600.0, 0])}


def both(path) -> tuple[Georeference | None, rasterio.DatasetReader]:
    with rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        return georeference(described(path.read_bytes())), rasterio.open(path)


def same_crs(wkt: str | None, theirs: CRS | None) -> bool:
    if wkt is None or theirs is None:
        return wkt is None and not theirs
    other = pyproj.CRS.from_wkt(theirs.to_wkt(version="WKT2_2019"))
    return CRS.from_wkt(wkt) == theirs and pyproj.CRS.from_wkt(wkt) == other


def assert_same_transform(found: Georeference, source: rasterio.DatasetReader) -> None:
    np.testing.assert_allclose(found.transform, source.transform[:6], rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", REGISTERED + USER_DEFINED)
@pytest.mark.parametrize("options", [{}, {"GEOTIFF_VERSION": "1.1"}], ids=["GeoTIFF 1.0", "GeoTIFF 1.1"])
def test_the_crs_is_the_one_that_gdal_reads_back(tmp_path, name, options):
    path = tmp_path / "crs.tif"
    place = {"crs": CRS.from_user_input(name), "transform": Affine(10, 0, 100, 0, -10, 200)}
    with rasterio.open(
        path, "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8", **place, **options
    ) as target:
        target.write(np.zeros((1, 4, 4), "uint8"))
    found, source = both(path)
    assert same_crs(found.crs_wkt, source.crs), (found.crs_wkt, source.crs.wkt)
    assert found.crs_problem is None
    if name.startswith("EPSG:") and "+" not in name and name not in {"EPSG:7415", "EPSG:4978"}:
        assert found.epsg == int(name[5:])


ESRI = ["EPSG:4326", "EPSG:32633", "EPSG:2048", "EPSG:28413", "ESRI:102086", "ESRI:102797", "EPSG:9426", "EPSG:8813"]


@pytest.mark.parametrize("name", ESRI + USER_DEFINED[:12])
def test_esri_strings_are_understood(tmp_path, name):
    path = tmp_path / "esri.tif"
    place = {"crs": CRS.from_user_input(name), "transform": Affine(10, 0, 100, 0, -10, 200)}
    profile = {"driver": "GTiff", "width": 4, "height": 4, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, **place, GEOTIFF_KEYS_FLAVOR="ESRI_PE") as target:
        target.write(np.zeros((1, 4, 4), "uint8"))
    found, source = both(path)
    assert same_crs(found.crs_wkt, source.crs), (found.crs_wkt, source.crs.wkt)


@pytest.mark.parametrize(
    "transform",
    [
        Affine(10, 0, 600000, 0, -10, 1500000),
        Affine(10, 0, 600000, 0, 10, 1500000),
        Affine(0.1, 0.02, 5, 0.03, -0.1, 6),
        Affine.rotation(30) @ Affine.scale(2, 2),
        Affine(1 / 3, 0, -180, 0, -1 / 7, 90),
        Affine(-10, 0, 5, 0, -10, 6),
    ],
    ids=["north-up", "south-up", "sheared", "rotated", "thirds", "mirrored"],
)
@pytest.mark.parametrize("point", ["Area", "Point"])
def test_the_transform_is_the_one_that_gdal_reads_back(tmp_path, transform, point):
    path = tmp_path / "transform.tif"
    place = {"crs": "EPSG:32633", "transform": transform}
    with rasterio.open(path, "w", driver="GTiff", width=4, height=4, count=1, dtype="uint8", **place) as target:
        target.update_tags(AREA_OR_POINT=point)
        target.write(np.zeros((1, 4, 4), "uint8"))
    found, source = both(path)
    assert_same_transform(found, source)
    assert found.pixel_is_point == (point == "Point")


@pytest.mark.parametrize(
    "tags",
    [
        PLACE,
        PLACE | {33922: (DOUBLE, [2.0, 1.5, 0, 500.0, 600.0, 0])},
        PLACE | {33550: (DOUBLE, [10.0, -10.0, 0.0])},
        PLACE | {33550: (DOUBLE, [10.0, 20.0])},
        PLACE | {33922: (DOUBLE, [0.0, 0, 0, 500, 600, 0, 4, 3, 0, 540, 570, 0])},
        {34264: (DOUBLE, [1.0, 2, 0, 3, 4, 5, 0, 6, 0, 0, 0, 0, 0, 0, 0, 1])},
        PLACE | {34735: (SHORT, [1, 1, 0, 1, 1025, 0, 1, 2])},
    ],
)
def test_model_tags_are_understood_as_gdal_does(tmp_path, tags):
    path = tmp_path / "model.tif"
    path.write_bytes(build(gray() | tags))
    found, source = both(path)
    assert_same_transform(found, source)


@pytest.mark.parametrize("keys", [{}, {34735: (SHORT, [1, 1, 0, 2, 1024, 0, 1, 2, 1025, 0, 1, 2])}])
@pytest.mark.parametrize("points", [1, 4])
def test_tiepoints_without_scale_are_ground_control_points(tmp_path, keys, points):
    ties = [float(number) for at in range(points) for number in (at, at + 1, 0, 5 * at, 7 * at, at)]
    path = tmp_path / "gcps.tif"
    path.write_bytes(build(gray() | {33922: (DOUBLE, ties)} | keys))
    found, source = both(path)
    expected, _ = source.gcps
    assert found.transform is None
    assert list(found.gcps) == [(point.col, point.row, point.x, point.y, point.z) for point in expected]


def test_an_image_without_georeferencing_has_none():
    assert georeference(described(build(gray()))) is None
    assert georeference(described(build(gray() | {50844: (DOUBLE, [0.0] * 92)}))) is None


def test_a_transform_that_is_no_number_is_none():
    tags = PLACE | {33922: (DOUBLE, [0.0, 0, 0, math.nan, 600.0, 0]), 34735: (SHORT, [1, 1, 0, 1, 1025, 0, 1, 1])}
    found = georeference(described(build(gray() | tags)))
    assert found is None or found.transform is None


@pytest.mark.parametrize(
    ("keys", "text", "problem"),
    [
        ([1024, 0, 1, 1, 3072, 0, 1, 1], "", "PROJ refuses"),
        ([1024, 0, 1, 1, 3075, 0, 1, 1, 3076, 0, 1, 1], "", "no linear unit 1"),
        ([1024, 0, 1, 1, 3073, 34737, 24, 0], "ESRI PE String = nonsense", "expected WKT"),
        ([1024, 0, 1, 1, 3075, 0, 1, 1, 3076, 0, 1, 9001, 3092, 0, 1, 0], "", "scale factor of 0"),
    ],
)
def test_a_crs_that_cannot_be_expressed_is_named_and_keeps_the_transform(keys, text, problem):
    tags = PLACE | {34735: (SHORT, [1, 1, 0, len(keys) // 4, *keys])}
    if text:
        tags |= {34737: (ASCII, text.encode() + b"\0")}
    found = georeference(described(build(gray() | tags)))
    assert found.crs_wkt is None
    assert problem in found.crs_problem
    assert found.transform == (10.0, 0.0, 500.0, 0.0, -10.0, 600.0)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([1024, 1025, 1026, *range(2048, 2063), *range(3072, 3097), *range(4096, 4100)]),
            st.sampled_from([0, 34735, 34736, 34737, 7]),
            st.integers(0, 8),
            st.one_of(
                st.integers(0, 40), st.sampled_from([4326, 32633, 32767, 6326, 7030, 8901, 9001, 9102, 16033, 65535])
            ),
        ),
        max_size=12,
    ),
    st.lists(st.floats(), max_size=20),
    st.text(max_size=60),
)
def test_no_geokeys_make_it_raise(entries, doubles, text):
    directory = (1, 1, 1, len(entries), *(number for entry in entries for number in entry))
    geo = GeoTags(key_directory=directory, double_params=tuple(doubles), ascii_params=text, tiepoints=tuple(doubles))
    base = described(build(gray() | PLACE))
    changed = type(base)(**{name: getattr(base, name) for name in base.__slots__} | {"geo": geo})
    assert georeference(changed) is None or isinstance(georeference(changed), Georeference)


UTM_31, NZ_TM, RD_NEW = (3072, 32631), (3072, 2193), (3072, 28992)
VERTICAL = "EGM2008 as we had it|"
SWEDISH = "PCS Name = RT90_5_gon_O|GCS Name = GCS_RT_1990|Ellipsoid = Bessel_1841|Primem = Greenwich||"
ODD_KEYS: dict[str, tuple[list[tuple[int, ...]], list[float], str]] = {
    "a projected code without a model type": ([UTM_31], [], ""),
    "no key but the raster type": ([(1025, 1)], [], ""),
    "no key but a unit": ([(3076, 9001)], [], ""),
    "a projected model and nothing more": ([(1024, 1)], [], ""),
    "an undefined model with a code": ([(1024, 0), UTM_31], [], ""),
    "feet for a code in metres": ([(1024, 1), UTM_31, (3076, 9003)], [], ""),
    "metres for a code in feet": ([(1024, 1), (3072, 2227), (3076, 9001)], [], ""),
    "half metres for a code in metres": ([(1024, 1), UTM_31, (3076, 32767), (3077, 34736, 1, 0)], [0.5], ""),
    "feet that only Imagine's citation names": (
        [(1024, 1), (1026, 34737, 57, 0), (3072, 2838)], [],
        "IMAGINE GeoTIFF Support\n(R)\nUnits = international_FeeT\n more|",
    ),
    "a base CRS beside a code whose northings come first": ([(1024, 1), (2048, 4167), NZ_TM], [], ""),
    "a code whose northings come first": ([(1024, 1), NZ_TM, (3076, 9001)], [], ""),
    "an ellipsoid other than the code's": (
        [(1024, 1), (2048, 4289), (2057, 34736, 1, 0), (2059, 34736, 1, 1), RD_NEW],
        [6377397.155, 299.152813106079], "",
    ),
    "a zone of a registered conversion, in feet": ([(1024, 1), (2048, 4267), (3074, 16031), (3076, 9003)], [], ""),
    "an old name of a registered CRS": (
        [(1024, 1), (1026, 34737, 21, 0), (2048, 4258), (3072, 32767), (3074, 32767), (3075, 10), (3076, 9001),
         (3082, 34736, 1, 2), (3083, 34736, 1, 3), (3088, 34736, 1, 1), (3089, 34736, 1, 0)],
        [52.0, 10.0, 4321000.0, 3210000.0], "ETRS89 / LAEA Europe|",
    ),
    "the name of ESRI's old Web Mercator": (
        [(1024, 1), (1026, 34737, 22, 0), (2048, 4326), (3072, 32767), (3074, 32767), (3075, 7), (3076, 9001)],
        [], "WGS_1984_Web_Mercator|",
    ),
    "ellipsoidal heights by GeoTIFF 1.0's code": ([(1024, 2), (2048, 4326), (4096, 5030)], [], ""),
    "ellipsoidal heights over another ellipsoid": ([(1024, 2), (2048, 4269), (4096, 5019)], [], ""),
    "ellipsoidal heights of a projected CRS": ([(1024, 1), UTM_31, (4096, 4979)], [], ""),
    "a vertical datum without a CRS": (
        [(1024, 1), UTM_31, (4097, 34737, len(VERTICAL), 0), (4098, 1027), (4099, 9001)], [], VERTICAL,
    ),
    "a vertical CRS by its name": (
        [(1024, 2), (2048, 6318), (4096, 32767), (4097, 34737, 14, 0), (4098, 32767), (4099, 9001)],
        [], "NAVD88 height|",
    ),
    "a vertical unit and nothing more": ([(1024, 2), (2048, 4326), (4099, 9001)], [], ""),
    "a deprecated code that one other has replaced": ([(1024, 1), (3072, 4088)], [], ""),
    "a deprecated code that several others could replace": ([(1024, 1), (3072, 2400)], [], ""),
    "a degree of size 0": (
        [(1024, 2), (2048, 32767), (2050, 32767), (2054, 32767), (2055, 34736, 1, 0), (2057, 34736, 1, 1),
         (2059, 34736, 1, 2)],
        [0.0, 6378137.0, 298.257222101], "",
    ),
    "names in ESRI's citation": (
        [(1024, 1), (1026, 34737, len(SWEDISH), 0), (2048, 4124), (3072, 32767), (3074, 32767), (3075, 1), (3076, 9001),
         (3080, 34736, 1, 0), (3081, 34736, 1, 1), (3082, 34736, 1, 2), (3083, 34736, 1, 1), (3092, 34736, 1, 3)],
        [22.5582777777778, 0.0, 1500000.0, 1.0], SWEDISH,
    ),
    "a projection that nobody knows": ([(1024, 1), (2048, 4326), (3072, 32767), (3074, 32767), (3075, 999)], [], ""),
    "a projection that only its writer knows": ([(1024, 1), (2050, 6248), (3074, 32767), (3075, 32767)], [], ""),
    "a unit that nobody knows beside a code": ([(1024, 1), UTM_31, (3076, 1)], [], ""),
    "a vertical code that nobody knows": ([(1024, 1), UTM_31, (4096, 9999)], [], ""),
    "the datum of WGS 84, an ensemble": ([(1024, 2), (2048, 32767), (2050, 6326)], [], ""),
    "the datum of ETRS89, an ensemble": ([(1024, 2), (2048, 32767), (2050, 6258)], [], ""),
    "a private vertical code": ([(1024, 2), (2048, 4326), (4096, 40000)], [], ""),
}  # fmt: skip


@pytest.mark.parametrize("minor", [0, 1], ids=["GeoTIFF 1.0", "GeoTIFF 1.1"])
@pytest.mark.parametrize("name", ODD_KEYS)
def test_odd_keys_mean_what_they_mean_to_gdal(tmp_path, name, minor):
    keys, doubles, text = ODD_KEYS[name]
    entries = [value for key in keys for value in (key if len(key) == 4 else (key[0], 0, 1, key[1]))]
    tags = {
        33550: (DOUBLE, [10.0, 10.0, 0.0]),
        33922: (DOUBLE, [0.0, 0.0, 0.0, 500000.0, 4000000.0, 0.0]),
        34735: (SHORT, [1, 1, minor, len(keys), *entries]),
    }
    tags |= {34736: (DOUBLE, doubles)} if doubles else {}
    tags |= {34737: (ASCII, text.encode() + b"\0")} if text else {}
    path = tmp_path / "keys.tif"
    path.write_bytes(build(gray() | tags))
    found, source = both(path)
    assert found is not None
    assert found.crs_wkt is not None, found.crs_problem
    assert CRS.from_wkt(found.crs_wkt) == source.crs, (found.crs_wkt, source.crs.to_wkt())
