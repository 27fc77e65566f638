"""Encodings of the scene table: smaller, and read by everybody as they stand."""

import datetime as dt

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rasteret_refs.refset.geoparquet import scenes_bytes, with_geo_metadata

ROWS = 3000


@pytest.fixture
def table():
    """A table as long as the encodings need to differ, with nulls at every depth."""
    random = np.random.default_rng(0)
    moments = [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=7 * n) for n in range(ROWS)]
    red = [
        None if n % 11 == 0 else {"href": f"https://host/tiles/43/P/GQ/{n}/B04.tif", "refs:size": int(size)}
        for n, size in enumerate(random.integers(1e6, 9e8, ROWS))
    ]
    data = {
        "id": [f"S2A_43PGQ_{n:06}_L2A" for n in range(ROWS)],
        "geometry": pa.nulls(ROWS, pa.binary()),
        "datetime": pa.array(moments, pa.timestamp("us", "UTC")),
        "eo:cloud_cover": [
            None if n % 7 == 0 else float(value) for n, value in enumerate(random.uniform(0, 100, ROWS))
        ],
        "count": [None if n % 5 == 0 else n * 3 for n in range(ROWS)],
        "day": random.integers(0, 300, ROWS).astype("int16"),
        "quality": pa.array(random.uniform(0, 1, ROWS).astype("float32")),
        "platform": ["a" if n % 3 else "b" for n in range(ROWS)],
        "clear": [bool(n % 2) for n in range(ROWS)],
        "keywords": [[f"k{n}", "same"] if n % 4 else [] for n in range(ROWS)],
        "nested": [{"deep": {"text": f"t{n}", "with.dot": n}} if n % 3 else None for n in range(ROWS)],
        "assets": pa.array([{"red": one} for one in red]),
    }
    return with_geo_metadata(pa.table(data))


@pytest.fixture
def file(table, tmp_path):
    path = tmp_path / "scenes.parquet"
    path.write_bytes(scenes_bytes(table))
    return path


def test_arrow_reads_every_value(table, file):
    assert pq.read_table(file).to_pylist() == table.to_pylist()


def test_duckdb_reads_every_value(table, file):
    found = duckdb.sql(f"select * from '{file}'").to_arrow_table()  # noqa: S608
    for name in table.column_names:
        if name != "datetime":
            assert found[name].to_pylist() == table[name].to_pylist(), name
    stamps = duckdb.sql(f"select epoch_us(datetime) from '{file}'").fetchall()  # noqa: S608
    assert [row[0] for row in stamps] == table["datetime"].cast(pa.int64()).to_pylist()


def test_polars_reads_every_value(table, file):
    assert pl.read_parquet(file).to_dicts() == table.to_pylist()


def test_what_hardly_repeats_is_packed_and_what_repeats_is_a_dictionary(file):
    group = pq.ParquetFile(file).metadata.row_group(0)
    found = {
        group.column(n).path_in_schema: set(group.column(n).encodings) - {"RLE", "PLAIN"}
        for n in range(group.num_columns)
    }
    assert found["id"] == found["assets.red.href"] == {"DELTA_BYTE_ARRAY"}
    assert found["datetime"] == found["assets.red.refs:size"] == {"DELTA_BINARY_PACKED"}
    assert found["eo:cloud_cover"] == found["quality"] == {"BYTE_STREAM_SPLIT"}
    assert found["platform"] == found["day"] == {"RLE_DICTIONARY"}


def test_ids_hrefs_and_times_of_a_series_cost_a_few_bytes_a_row(table):
    few = table.select(["id", "geometry", "datetime", "count"])
    assert scenes_bytes(few).size < 8 * ROWS
