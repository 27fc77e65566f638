"""CQL2 over a scene table, compared with DuckDB's SQL on the same table."""

from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import shapely

from rasteret_refs.errors import QueryError
from rasteret_refs.refset.query import conditions, datetime_range, select_rows, unknown_names

RANDOM = np.random.default_rng(5)
N = 300
TABLE = pa.table(
    {
        "row": np.arange(N),
        "id": [f"S2{'AB'[k % 2]}_{k:03d}" for k in range(N)],
        "split": [["train", "val", None][k % 3] for k in range(N)],
        "eo:cloud_cover": pa.array(RANDOM.uniform(0, 100, N), mask=np.arange(N) % 7 == 0),
        "count": RANDOM.integers(0, 10, N),
        "good": RANDOM.integers(0, 2, N).astype(bool),
        "datetime": pa.array(
            np.datetime64("2024-01-01", "us") + RANDOM.integers(0, 366 * 86_400_000_000, N), pa.timestamp("us", "UTC")
        ),
        "geometry": shapely.to_wkb(shapely.box(np.arange(N), 0, np.arange(N) + 0.5, 1)),
        "bbox": pa.array([{"xmin": float(k), "ymin": 0.0} for k in range(N)]),
    }
)


@pytest.mark.parametrize(
    ("cql2", "sql"),
    [
        ("split = 'train' AND \"eo:cloud_cover\" < 20", None),
        ("eo:cloud_cover < 20", '"eo:cloud_cover" < 20'),
        ("split = 'train' OR eo:cloud_cover > 50", "split = 'train' OR \"eo:cloud_cover\" > 50"),
        ("NOT (split = 'train')", None),
        ("split <> 'train'", None),
        ("split IS NULL", None),
        ("split IS NOT NULL", None),
        ("id LIKE 'S2A%'", None),
        ("id IN ('S2A_000', 'S2B_001', 'nope')", None),
        ("count BETWEEN 3 AND 5", None),
        ("count + 1 > 2 * 3", None),
        ("count / 2 = 1.5", None),
        ("good = TRUE", None),
        ("CASEI(id) = CASEI('s2a_000')", "lower(id) = 's2a_000'"),
        ("datetime >= TIMESTAMP('2024-05-31T10:00:00Z')", "datetime >= TIMESTAMPTZ '2024-05-31 10:00:00+00'"),
        ("datetime < '2024-03-01'", "datetime < TIMESTAMPTZ '2024-03-01 00:00:00+00'"),
        ("datetime > DATE('2024-10-01')", "datetime > TIMESTAMPTZ '2024-10-01 00:00:00+00'"),
        (
            "T_INTERSECTS(datetime, INTERVAL('2024-02-01', '2024-03-01'))",
            "datetime BETWEEN TIMESTAMPTZ '2024-02-01 00:00:00+00' AND TIMESTAMPTZ '2024-03-01 00:00:00+00'",
        ),
        ("T_AFTER(datetime, INTERVAL('..', '2024-03-01'))", "datetime > TIMESTAMPTZ '2024-03-01 00:00:00+00'"),
        ("bbox.xmin > 250", None),
        (
            "S_INTERSECTS(geometry, POLYGON((10.2 0.2, 20.1 0.2, 20.1 0.8, 10.2 0.8, 10.2 0.2)))",
            "row BETWEEN 10 AND 20",
        ),
    ],
)
def test_rows_are_those_that_duckdb_selects(cql2, sql):
    connection = duckdb.connect()
    connection.register("scenes", TABLE)
    expected = [row for (row,) in connection.sql(f"SELECT row FROM scenes WHERE {sql or cql2} ORDER BY row").fetchall()]  # noqa: S608
    assert select_rows(TABLE, cql2).tolist() == expected
    assert 0 < len(expected) < N


def test_an_arrow_expression_selects_likewise():
    assert select_rows(TABLE, pc.field("count") == 3).tolist() == select_rows(TABLE, "count = 3").tolist()


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("splitt = 'train'", "did you mean split"),
        ("split = ", "expected CQL2 text"),
        ("count + 1", "true or false"),
        ("split > 3", "cannot be applied"),
        ("datetime > 'yesterday'", "RFC 3339"),
        ("A_OVERLAPS(split, ('a'))", "not supported"),
        ("bbox.zmin > 0", "no field"),
        ("", "expected CQL2 text"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(expression, message):
    with pytest.raises(QueryError, match=message):
        select_rows(TABLE, expression)


def test_an_arrow_expression_over_a_missing_column_is_refused():
    with pytest.raises(QueryError, match="does not fit"):
        select_rows(TABLE, pc.field("nope") == 3)


@pytest.mark.parametrize(
    ("text", "start", "stop"),
    [
        ("2024", datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2024-02", datetime(2024, 2, 1, tzinfo=UTC), datetime(2024, 2, 29, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2024-12/2025-01-05", datetime(2024, 12, 1, tzinfo=UTC), datetime(2025, 1, 5, 23, 59, 59, 999999, tzinfo=UTC)),
        ("../2025-01-05T10:00:00Z", None, datetime(2025, 1, 5, 10, tzinfo=UTC)),
        ("2024-05-31T12:00:00+02:00/..", datetime(2024, 5, 31, 10, tzinfo=UTC), None),
    ],
)
def test_stac_datetime_arguments_are_inclusive_periods(text, start, stop):
    assert datetime_range(text) == (start, stop)


@pytest.mark.parametrize("text", ["2024-13", "tomorrow", "2025/2024", "2024-1-1"])
def test_impossible_datetime_arguments_are_refused(text):
    with pytest.raises(QueryError, match="expected"):
        datetime_range(text)


def test_unknown_names_are_listed_beside_those_that_exist():
    with pytest.raises(QueryError, match="no asset named 'nri'; there are nir, red"):
        unknown_names(["red", "nir"], ["red", "nri"], "asset")


def test_an_expression_comes_apart_into_conditions_that_together_select_the_same_rows():
    expression = "split = 'train' AND \"eo:cloud_cover\" < 50 AND (id = 'S2A_000' OR NOT bbox.xmin < 20)"
    found = conditions(expression)
    assert sorted(sorted(one.names) for one in found) == [["bbox", "id"], ["eo:cloud_cover"], ["split"]]
    together = np.logical_and.reduce([one.mask(TABLE) for one in found])
    assert np.flatnonzero(together).tolist() == select_rows(TABLE, expression).tolist() != []
    (arrow,) = conditions(pc.field("split") == "train")
    assert arrow.names is None
    assert np.flatnonzero(arrow.mask(TABLE)).tolist() == select_rows(TABLE, "split = 'train'").tolist()
