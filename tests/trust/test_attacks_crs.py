"""CRSs that name files: PROJ opened them, wherever they lay, and waited for pipes for ever."""

import os
from pathlib import Path
from typing import Any

import pyproj
import pytest

import rasteret_refs as rr
from rasteret_refs.errors import DamagedError, RasteretRefsError
from rasteret_refs.tiff.crs_text import crs_problem
from tests.trust.forge import forged, reported

_DEGREES = 'CS[ellipsoidal,2],AXIS["lat",north],AXIS["lon",east],ANGLEUNIT["degree",0.0174532925199433]'
_BASE = f'GEOGCRS["x",DATUM["d",ELLIPSOID["e",6378137,298.257]],{_DEGREES}]'
HOSTILE = (
    "+proj=longlat +ellps=GRS80 +nadgrids={file} +no_defs +type=crs", "+init={file}:x", "{file}", "file:{file}",
    ('GEOGCS["x",DATUM["d",SPHEROID["e",6378137,298.257],EXTENSION["PROJ4_GRIDS","{file}"]],PRIMEM["G",0],'
    'UNIT["degree",0.0174532925199433]]'),
    ('geogcs["x",datum["d",spheroid["e",6378137,298.257],extension["proj4_grids" , "{file}"]],primem["G",0],'
    'unit["degree",0.0174532925199433]]'),
    ('PROJCS["x",GEOGCS["x",DATUM["d",SPHEROID["e",6378137,298.257]],PRIMEM["G",0],UNIT["degree",0.0174532925199433]],'
    'PROJECTION["Mercator_1SP"],PARAMETER["scale_factor",1],UNIT["metre",1],'
    'EXTENSION["PROJ4","+proj=merc +a=6378137 +nadgrids={file} +no_defs"]]'),
    (f'BOUNDCRS[SOURCECRS[{_BASE}],TARGETCRS[{_BASE}],ABRIDGEDTRANSFORMATION["t",METHOD["NTv2",ID["EPSG",9615]],'
    'PARAMETERFILE["Latitude and longitude difference file","{file}",ID["EPSG",8656]]]]'),
    (f'BOUNDCRS[SOURCECRS[{_BASE}],TARGETCRS[{_BASE}],ABRIDGEDTRANSFORMATION["t",METHOD["NTv2",ID["EPSG",9615]],'
    'parameterfile(\u201cLatitude and longitude difference file\u201d,\u201c{file}\u201d)]]'),
    f'DERIVEDCRS["x",BASE{_BASE},METHOD["PROJ-based operation method: +proj=hgridshift +grids={{file}}"]]',
    '{"type": "GeographicCRS", "a": ' + "[" * 100_000, "GEOGCS[" * 50_000,
)  # fmt: skip


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A file that whoever opens it waits for."""
    path = tmp_path / "grid.gsb"
    os.mkfifo(path)
    return path


def named(text: str, file: str) -> str:
    return text.replace("{file}", file)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("file", ["/dev/stdin", "./x.gsb", "../x.gsb", "~/x.gsb", "https://example.org/x.tif", "a/b"])
def test_texts_that_name_files_elsewhere_are_told(text: str, file: str) -> None:
    assert crs_problem(named(text, file)) is not None


@pytest.mark.parametrize("key", ["crs_wkt", "spatial_ref", "proj:code", "proj:wkt2"])
@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_sets_with_such_a_crs_do_not_open(local_refs: Path, tmp_path: Path, pipe: Path, key: str, number: int) -> None:
    text = named(HOSTILE[number], str(pipe))
    out = forged(
        local_refs, tmp_path / "x.refs", documents=lambda d: d["factor_1/spatial_ref/.zattrs"].update({key: text})
    )
    with pytest.raises(DamagedError, match="expected a code or WKT"):
        rr.open(out)
    with pytest.raises(DamagedError):
        rr.plain_store(out)
    reported(out)


def test_a_code_that_nobody_knows_is_an_error_of_ours(local_refs: Path, tmp_path: Path, scenes: Path) -> None:
    out = forged(
        local_refs, tmp_path / "x.refs", storage={"s3://x/": {"region": "us-west-2"}},
        documents=lambda d: d["factor_1/spatial_ref/.zattrs"].update(crs_wkt="EPSG:99999999"),
    )  # fmt: skip
    with pytest.raises(RasteretRefsError):
        rr.open(out, allow=str(scenes)).read(bbox=(74.9, 13.5, 74.95, 13.55), crs="EPSG:4326", resolution=0.001)


def test_stacks_with_such_a_crs_in_their_coordinates_are_refused(tmp_path: Path, scenes: Path, pipe: Path) -> None:
    """There the CRSs are values of an array, which nobody reads before pixels are asked for."""
    from rasteret_refs.read.images import _crs

    with pytest.raises(DamagedError, match="CRS of a scene"):
        _crs(named(HOSTILE[0], str(pipe)))


def test_headers_with_such_a_crs_are_not_believed(tmp_path: Path, pipe: Path) -> None:
    from tests.tiff import builder
    from tests.tiff.reading import described

    text = "ESRI PE String = " + named(HOSTILE[6], str(pipe))
    keys: list[Any] = [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3073, 34737, len(text) + 1, 0]
    data = builder.build(
        builder.gray(t34735=(builder.SHORT, keys), t34737=(builder.ASCII, (text + "|").encode() + b"\0"))
    )
    from rasteret_refs.tiff.georeference import georeference

    place = georeference(described(data))
    assert place is not None
    assert place.crs_wkt is None
    assert "names a file" in str(place.crs_problem)


def test_crss_of_every_other_kind_are_taken() -> None:
    for code in ("EPSG:4326", "EPSG:32643", "OGC:CRS84", "ESRI:102001", "EPSG:4326+5773", "IAU_2015:30100"):
        assert crs_problem(code) is None
    for number in (4326, 32643, 3857, 27700, 2056, 5514, 31467, 6933, 7415):
        crs = pyproj.CRS.from_epsg(number)
        for version in ("WKT1_GDAL", "WKT1_ESRI", "WKT2_2019", "WKT2_2015"):
            try:
                text = crs.to_wkt(version)
            except pyproj.exceptions.CRSError:
                continue
            assert crs_problem(text) is None, text
