"""Without an optional package, what needs it says which extra brings it; everything else works."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rasteret_refs as rr
from rasteret_refs.errors import MissingPackageError, RasteretRefsError
from rasteret_refs.extras import needed
from tests.read.conftest import write_cog

CODE = """
import sys
for package in {packages!r}:
    sys.modules[package] = None
import rasteret_refs as rr
from rasteret_refs.errors import MissingPackageError
refs = rr.open({set!r})
try:
    {call}
except MissingPackageError as error:
    print("refused:", error)
else:
    print("works")
"""

BBOX = "(75.8, 13.5, 76.1, 13.6)"


@pytest.mark.parametrize(
    ("packages", "call", "said"),
    [
        (["shapely"], "refs.sample_points([(75.93, 13.55)])", "Collection.sample_points needs the package shapely"),
        (["cql2"], "refs.where('id IS NOT NULL')", "CQL2 text needs the package cql2"),
        (["rasterio"], f"refs.read({BBOX}, crs=4326, resolution=0.01).load()", "needs the package rasterio"),
        (["shapely", "rasterio", "cql2"], f"refs.read({BBOX}).load(); refs.to_xarray().load()", ""),
    ],
)
def test_a_missing_package_is_named_with_its_extra(scenes: Path, packages: list[str], call: str, said: str) -> None:
    code = CODE.format(packages=packages, set=str(scenes), call=call)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    if not said:
        assert done.stdout == "works\n"
        return
    assert said in done.stdout
    assert "pip install 'rasteret-refs[" in done.stdout


def test_packages_that_no_extra_brings_stay_python_s_own_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="nonesuch") as caught, needed("this"):
        import nonesuch  # type: ignore[import-not-found]  # noqa: F401 - that is the point
    assert not isinstance(caught.value, RasteretRefsError)
    assert issubclass(MissingPackageError, ImportError)


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    path = tmp_path / "scene.tif"
    write_cog(path, np.arange(256 * 256, dtype=np.uint16).reshape(1, 256, 256))
    rr.build([path], tmp_path / "o.refs")
    return tmp_path / "o.refs"
