"""Ways between CRSs: those that are known without a search are PROJ's own."""

import numpy as np
import pyproj
import pytest

from rasteret_refs.read import overlap
from rasteret_refs.read.overlap import transformer

ALIKE = [
    (32643, 32644, (75, 10, 81, 30)),
    (32733, 32601, (-180, -80, 180, 84)),
    (32630, 3857, (-6, 0, 0, 84)),
    (3413, 32625, (-40, 60, -20, 84)),
    (5070, 26915, (-96, 30, -90, 48)),
    (2154, 32631, (0, 42, 6, 51)),
    (25832, 25833, (6, 40, 18, 84)),
    (6933, 32755, (144, -60, 150, -10)),
    (2053, 2054, (28, -33, 32, -22)),
    (32643, 32643, (75, 10, 81, 30)),
]
"""Two projections of one datum, the sixth pair of two, and where both are used."""
SEARCHED = [
    (26710, 32610, (-126, 42, -120, 60)),
    (23030, 32630, (-6, 40, 0, 60)),
    (3035, 25832, (6, 40, 12, 60)),
    (2193, 3851, (167, -47, 178, -34)),
    (2263, 26918, (-74, 40, -73, 41)),
    (27571, 27572, (0, 48, 8, 50)),
    (4326, 32643, (75, 10, 81, 30)),
    (32643, 4326, (75, 10, 81, 30)),
    (3857, 4326, (-170, -80, 170, 80)),
]
"""Other datums, axes, units or degrees."""


def same_as_searched(one: pyproj.CRS, other: pyproj.CRS, where: tuple[float, ...]) -> None:
    """Compare with pyproj's own way, to the last bit, also far outside of where the CRSs are used."""
    random = np.random.default_rng(0)
    longitude, latitude = random.uniform(where[0], where[2], 500), random.uniform(where[1], where[3], 500)
    x, y = pyproj.Transformer.from_crs(4326, one, always_xy=True).transform(longitude, latitude)
    spread = (180, 90) if one.is_geographic else (2e7, 2e7)
    x, y = (
        np.append(x, random.uniform(-spread[0], spread[0], 500)),
        np.append(y, random.uniform(-1, 1, 500) * spread[1]),
    )
    wanted = pyproj.Transformer.from_crs(one, other, always_xy=True)
    for direction in ("FORWARD", "INVERSE"):
        for found, expected in zip(
            transformer(one, other).transform(x, y, direction=direction),
            wanted.transform(x, y, direction=direction),
            strict=True,
        ):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("one", "other", "where"), [*ALIKE, *SEARCHED])
def test_ways_are_those_that_proj_finds(one, other, where):
    same_as_searched(pyproj.CRS(one), pyproj.CRS(other), where)


@pytest.mark.parametrize(("one", "other", "where"), [ALIKE[0], ALIKE[4]])
def test_ways_between_crss_without_a_code_are_too(one, other, where):
    texts = [pyproj.CRS(code).to_wkt("WKT1_GDAL").replace("AUTHORITY[", "EXTENSION[") for code in (one, other)]
    same_as_searched(pyproj.CRS(texts[0]), pyproj.CRS(texts[1]), where)


def test_projections_of_one_datum_need_no_search(monkeypatch):
    def refuse(*_args, **_options):
        raise AssertionError("searched")

    overlap._transformer.cache_clear()
    monkeypatch.setattr(pyproj.Transformer, "from_crs", refuse)
    for one, other, _ in ALIKE[:5]:
        transformer(pyproj.CRS(one), pyproj.CRS(other))
    for one, other, _ in SEARCHED:
        with pytest.raises(AssertionError, match="searched"):
            transformer(pyproj.CRS(one), pyproj.CRS(other))
