"""Generated TIFFs, pixel for pixel: built into sets, opened by the plain route, compared with rasterio's reading."""

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rasterio.errors import NotGeoreferencedWarning

import rasteret_refs as rr
from tests.oracle.compare import check_images, same
from tests.oracle.matrix import combinations, truth
from tests.oracle.plain_set import PlainSet
from tests.oracle.special import special_files

PARTS = 8
"""The matrix is cut into so many tests; each builds one set."""


@pytest.fixture(autouse=True)
def nowhere() -> Iterator[None]:
    """The generated images lie nowhere on purpose."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("part", range(PARTS))
def test_every_combination_is_read_exactly(part: int, tmp_path: Path) -> None:
    files = {}
    for number, combination in enumerate(combinations()):
        if number % PARTS == part and (path := combination.write(tmp_path)) is not None:
            files[str(path)] = combination
    assert len(files) >= 1500 / PARTS
    rr.build(list(files), tmp_path / "matrix.refs")
    opened = PlainSet(tmp_path / "matrix.refs")
    places = opened.places()
    assert {href for href, _ in places} == set(files)
    wrong = []
    for (href, _), place in places.items():
        if not same(opened.image(place.group, place.array, place.index), truth(Path(href))):
            wrong.append(files[href].name)
    assert wrong == []


def test_the_matrix_covers_what_it_must() -> None:
    found = list(combinations())
    assert len(found) >= 1500
    assert len({(one.height, one.width) for one in found}) == len(found)
    for field, least in {"compression": 10, "dtype": 14, "predictor": 3}.items():
        assert len(Counter(getattr(one, field) for one in found)) >= least


@pytest.fixture(scope="module")
def special(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each special file in a set of its own, beside it, built in one go each."""
    directory = tmp_path_factory.mktemp("special")
    for name, write in special_files().items():
        write(directory / f"{name}.tif")
    return directory


@pytest.mark.parametrize("name", special_files())
def test_special_files_are_read_exactly_with_their_overviews_and_masks(special: Path, name: str) -> None:
    path = special / f"{name}.tif"
    out = special / f"{name}.refs"
    rr.build([str(path)], out)
    opened = PlainSet(out)
    check_images(opened, path)
    assert not (out / "failures.parquet").exists() or pq.read_table(out / "failures.parquet").num_rows == 0
