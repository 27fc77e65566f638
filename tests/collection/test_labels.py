"""Labels: in the scene table and in the arrays alike, written in one step or carried by a view."""

import hashlib
import os
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

import rasteret_refs as rr
from rasteret_refs.errors import ExistsError, QueryError, RefsetError
from rasteret_refs.refset.successor import Successor
from tests.collection.scenes import HEIGHT, WIDTH, items
from tests.servers.range_server import serve


def table_column(location: str | Path, name: str) -> dict[str, object]:
    """A column of the scene table by id, as DuckDB reads it."""
    query = f"""select id, "{name}" from '{location}/scenes.parquet'"""  # noqa: S608
    return dict(duckdb.sql(query).fetchall())


def plain_coordinates(location: str | Path, name: str) -> dict[str, set[object]]:
    """A coordinate by id, in all groups, as plain Zarr and xarray read it."""
    store = rr.plain_store(location)
    found: dict[str, set[object]] = {}
    for group in rr.open(location).groups:
        for resolution in group.resolutions:
            path = f"{group.path}/{resolution}".strip("/")
            dataset = xr.open_zarr(store, group=path, consolidated=False, zarr_format=2, chunks=None)
            assert name in dataset["red"].coords
            for scene, value in zip(dataset["id"].to_numpy().tolist(), dataset[name].to_numpy().tolist(), strict=True):
                found.setdefault(scene, set()).add(value)
    return found


@pytest.mark.parametrize("kind", ["arrow", "pandas", "polars", "mapping", "duckdb", "csv", "parquet"])
def test_labels_of_any_table_stand_in_the_scene_table_and_in_every_group_alike(own, tmp_path, kind):
    ids = own.scenes["id"].to_pylist()
    data = {"id": ids, "crop": [f"crop-{k % 3}" for k in range(8)], "tons": [k / 2 for k in range(8)]}
    frame = pd.DataFrame(data)
    pq.write_table(pa.table(data), tmp_path / "labels.parquet")
    frame.to_csv(tmp_path / "labels.csv", index=False)
    table = {
        "arrow": lambda: pa.table(data), "pandas": lambda: frame, "polars": lambda: pl.DataFrame(data),
        "mapping": lambda: data, "duckdb": lambda: duckdb.from_arrow(pa.table(data)),
        "csv": lambda: tmp_path / "labels.csv", "parquet": lambda: str(tmp_path / "labels.parquet"),
    }[kind]()  # fmt: skip
    assert own.annotate(table) is own
    for name in ("crop", "tons"):
        expected = dict(zip(ids, data[name], strict=True))
        assert table_column(own.location, name) == expected
        assert plain_coordinates(own.location, name) == {scene: {value} for scene, value in expected.items()}
        dataset = own.to_xarray(own.groups[0].path)
        assert {scene: expected[scene] for scene in dataset["id"].to_numpy()} == dict(
            zip(dataset["id"].to_numpy(), dataset[name].to_numpy(), strict=True)
        )
    assert len(own.where("crop = 'crop-1'")) == 3
    own.verify()


def test_scenes_without_a_label_are_told_in_table_and_arrays(own):
    some = own.scenes["id"].to_pylist()[:3]
    when = pd.to_datetime(["2024-01-01", None, "2024-01-03"])
    own.annotate(
        {"id": some, "name": ["a", None, "c"], "count": [1, 2, None], "good": [True, False, None], "when": when}
    )
    assert table_column(own.location, "count")[some[1]] == 2
    assert [value for value in table_column(own.location, "name").values() if value is not None] == ["a", "c"]
    names, counts, good = (plain_coordinates(own.location, name) for name in ("name", "count", "good"))
    assert names[some[0]] == {"a"}
    assert sum(value == {""} for value in names.values()) == 6
    assert counts[some[1]] == {2.0}
    assert sum(np.isnan(value.pop()) for value in counts.values()) == 6
    assert good[some[0]] == {1.0}
    assert plain_coordinates(own.location, "when")[some[2]] == {"2024-01-03T00:00:00"}
    own.annotate({"id": some[2:], "name": ["changed"]})
    assert {scene: table_column(own.location, "name")[scene] for scene in some} == dict(
        zip(some, ["a", None, "changed"], strict=True)
    )


def test_what_cannot_be_a_coordinate_stays_in_the_table(own):
    ids = own.scenes["id"].to_pylist()
    own.annotate({"id": ids, "my:score": list(range(8)), "parts": [[1, 2]] * 8})
    assert table_column(own.location, "parts")[ids[0]] == [1, 2]
    assert "my:score" not in own.to_xarray(own.groups[0].path).coords
    assert len(own.where('"my:score" > 5')) == 2
    with pytest.raises(QueryError, match=r"my:score.*cannot be a coordinate"):
        own.annotate({"id": ids, "my:score": ids}, coordinates=["my:score"])
    own.annotate({"id": ids, "quiet": ids}, coordinates=[])
    assert "quiet" not in own.to_xarray(own.groups[0].path).coords


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": ["S2A_43PGQ_000", "nobody"], "x1": [1, 2]}, "nobody"),
        ({"id": ["S2A_43PGQ_000", "S2A_43PGQ_000"], "x1": [1, 2]}, "S2A_43PGQ_000.*again"),
        ({"id": ["S2A_43PGQ_000", None], "x1": [1, 2]}, "without it"),
        ({"name": ["S2A_43PGQ_000"], "x1": [1]}, "no column of the labels named 'id'"),
        ({"id": ["S2A_43PGQ_000"]}, "beside the key"),
        ({"id": ["S2A_43PGQ_000"], "geometry": [1]}, "rename"),
        ({"id": ["S2A_43PGQ_000"], "assets": [1]}, "rename"),
        (3, "expected a table"),
    ],
)
def test_labels_that_do_not_fit_are_refused_by_name_and_nothing_is_written(own, table, message):
    before = own.refset.sha256
    with pytest.raises(QueryError, match=message):
        own.annotate(table)
    assert rr.open(own.location).refset.sha256 == before


def test_a_label_named_like_an_asset_stays_out_of_the_arrays(own):
    ids = own.scenes["id"].to_pylist()
    own.annotate({"id": ids, "red": ids})
    assert own.to_xarray(own.groups[0].path)["red"].dtype == np.uint16
    with pytest.raises(QueryError, match="name of an asset"):
        own.annotate({"id": ids, "red": ids}, coordinates=["red"])


def test_unknown_keys_are_left_out_on_request_and_other_keys_than_the_id_serve(own):
    own.annotate({"id": ["S2A_43PGQ_000", "nobody"], "kind": ["a", "b"]}, ignore_unknown=True)
    assert [value for value in table_column(own.location, "kind").values() if value] == ["a"]
    with pytest.raises(QueryError, match="again"):
        own.annotate({"platform": ["sentinel-2a"], "kind": ["b"]}, on="platform")
    own.annotate({"kind": ["a"], "grade": [3]}, on="kind")
    assert table_column(own.location, "grade")["S2A_43PGQ_000"] == 3


def test_a_reader_that_was_open_before_goes_on(own, stac_items):
    old = rr.open(own.location)
    grid = old.groups[0].path
    own.annotate({"id": old.scenes["id"].to_pylist(), "kind": ["a"] * 8})
    assert np.array_equal(old.to_xarray(grid)["red"].to_numpy(), own.to_xarray(grid)["red"].to_numpy())
    assert "kind" not in old.to_xarray(grid).coords


@pytest.mark.parametrize("moment", ["finish", "append"])
def test_a_failure_leaves_the_old_state(own, monkeypatch, moment):
    def fail(*_arguments, **_options):
        raise OSError("no space left on device")

    before = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files(own.location)}
    monkeypatch.setattr(Successor, moment, fail)
    with pytest.raises(OSError, match="no space"):
        own.annotate({"id": own.scenes["id"].to_pylist(), "kind": ["a"] * 8})
    assert {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files(own.location)} == before
    assert sorted(p.name for p in Path(own.location).parent.iterdir()) == ["own.refs"]
    own.verify()


def files(location):
    return [path for path in Path(location).rglob("*") if path.is_file()]


def test_a_remote_set_gives_a_view_that_carries_the_labels_and_can_be_saved(location, tmp_path):
    with serve(location.parent) as server:
        remote = rr.open(server.url + location.name)
        ids = remote.scenes["id"].to_pylist()
        view = remote.annotate({"id": ids, "kind": [f"k{k}" for k in range(8)]}).where("kind <> 'k7'")
        assert view is not remote
        assert "kind" not in remote.scenes.column_names
        grid = view.groups[0].path
        dataset = view.to_xarray(grid)
        expected = dict(zip(ids, [f"k{k}" for k in range(8)], strict=True))
        assert [expected[name] for name in dataset["id"].to_numpy()] == dataset["kind"].to_numpy().tolist()
        with pytest.raises(RefsetError, match="save the view"):
            remote.annotate({"id": ids, "kind": ids}, write=True)
        saved = view.save(tmp_path / "saved.refs")
    assert table_column(saved.location, "kind") == {name: kind for name, kind in expected.items() if kind != "k7"}
    assert plain_coordinates(saved.location, "kind") == {n: {k} for n, k in expected.items() if k != "k7"}
    saved.verify()


def test_a_view_carries_labels_and_writes_them_only_when_told(own):
    view = own.where("id LIKE '%GQ%'")
    ids = view.scenes["id"].to_pylist()
    carried = view.annotate({"id": ids, "kind": ["a"] * 4})
    assert carried.scenes["kind"].to_pylist() == ["a"] * 4
    assert "kind" not in rr.open(own.location).scenes.column_names
    twice = carried.annotate({"id": ids[:1], "kind": ["b"], "more": [1]})
    assert twice.scenes["kind"].to_pylist() == ["b", "a", "a", "a"]
    with pytest.raises(QueryError, match="S2A_43PHQ_001"):
        view.annotate({"id": ["S2A_43PHQ_001"], "kind": ["a"]})
    written = carried.annotate({"id": ids, "other": ids}, write=True)
    assert len(written) == 4
    assert sum(value is not None for value in table_column(own.location, "other").values()) == 4
    assert sum(value == "a" for value in table_column(own.location, "kind").values()) == 4


def test_a_read_only_set_gives_a_view(own, monkeypatch):
    """The system is asked, as it answers for a superuser too on a file system that is mounted read-only."""
    monkeypatch.setattr(os, "access", lambda path, _mode: Path(path) != Path(own.location))
    view = own.annotate({"id": own.scenes["id"].to_pylist(), "kind": ["a"] * 8})
    assert view is not own
    assert view.scenes["kind"].to_pylist() == ["a"] * 8
    assert "kind" not in rr.open(own.location).scenes.column_names


def test_a_set_whose_place_somebody_else_writes_is_told(own):
    import fcntl

    lock = Path(own.location).parent / ".own.refs.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ExistsError, match="other writer"):
            own.annotate({"id": own.scenes["id"].to_pylist(), "kind": ["a"] * 8})


def test_labels_survive_appending_and_new_scenes_have_none(own, tmp_path):
    ids = own.scenes["id"].to_pylist()
    own.annotate({"id": ids, "kind": ["a"] * 8, "count": list(range(8)), "good": [True] * 8})
    (tmp_path / "more").mkdir()
    grown = own.append(items(tmp_path / "more", count=2, first=8))
    kinds = plain_coordinates(grown.location, "kind")
    assert {kinds[name].pop() for name in ids} == {"a"}
    assert [value for name, value in kinds.items() if name not in ids] == [{""}, {""}]
    counts = plain_coordinates(grown.location, "count")
    assert [counts[name] for name in ids] == [{float(k)} for k in range(8)]
    assert sum(value is None for value in table_column(grown.location, "kind").values()) == 2


def test_labels_by_tile_are_keyed_by_grid_row_and_column(own):
    grids = [group.path for group in own.groups]
    rows, columns = -(-HEIGHT // 128), -(-WIDTH // 128)
    keys = [(grid, row, column) for grid in grids for row in range(rows) for column in range(columns)]
    table = pa.table(
        {
            "group": [key[0] for key in keys],
            "row": [key[1] for key in keys],
            "column": [key[2] for key in keys],
            "cover": [f"{key[1]}-{key[2]}" for key in keys],
        }
    )
    on = ("group", "row", "column")
    own.annotate(table, on=on)
    query = f"""select cover, count(*) from '{own.location}/tiles.parquet' group by cover"""  # noqa: S608
    assert dict(duckdb.sql(query).fetchall()) == {f"{r}-{c}": 2 for r in range(rows) for c in range(columns)}
    tiles = own.tiles(["group", "row", "column", "cover", "factor"])  # noqa: F841 - DuckDB finds it by its name
    told = duckdb.sql('select distinct factor, cover = "row" || \'-\' || "column" from tiles').fetchall()
    assert sorted(told, key=str) == [(1, True), (2, None)]
    own.verify()
    with pytest.raises(QueryError, match="tiles that there are"):
        own.annotate({"group": grids[:1], "row": [rows], "column": [0], "cover": ["x"]}, on=on)
    with pytest.raises(QueryError, match="again"):
        own.annotate({"group": grids[:1] * 2, "row": [0, 0], "column": [0, 0], "cover": ["x", "y"]}, on=on)
    with pytest.raises(QueryError, match="several grids"):
        own.annotate({"row": [0], "column": [0], "cover": ["x"]}, on=("row", "column"))
    own.annotate({"group": [f"{grids[0]}/factor_1"], "row": [0], "column": [0], "cover": ["new"]}, on=on)
    assert dict(duckdb.sql(query).fetchall())["new"] == 1
    own.annotate(
        {"group": [grids[0], "nowhere"], "row": [0, 0], "column": [1, 0], "note": ["n", "m"]},
        on=on,
        ignore_unknown=True,
    )
    count = f"select count(note), count(*) from '{own.location}/tiles.parquet'"  # noqa: S608
    assert duckdb.sql(count).fetchall() == [(1, len(keys))]
