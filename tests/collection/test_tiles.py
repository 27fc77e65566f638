"""Tiles as a table: the bytes that tifffile finds, the places that rasterio gives, and only what was asked for."""

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import rasterio
import tifffile
from rasterio.warp import transform_bounds
from rasterio.windows import Window
from rasterio.windows import bounds as window_bounds

import rasteret_refs as rr
from rasteret_refs.errors import QueryError
from rasteret_refs.refset.sealed import SealedSet
from tests.collection.scenes import BLOCK, HEIGHT, START, WIDTH, item, pixels_of, transform_of, write_cog

DOWN, ACROSS = -(-HEIGHT // BLOCK), -(-WIDTH // BLOCK)
COARSE = -(-(HEIGHT // 2) // BLOCK) * -(-(WIDTH // 2) // BLOCK)


def test_each_tile_is_the_byte_range_that_tifffile_finds(refs):
    rows = refs.tiles().read_all().to_pylist()
    assert len(rows) == 8 * 2 * (DOWN * ACROSS + COARSE)
    expected = {}
    for url in {row["url"] for row in rows}:
        with tifffile.TiffFile(url) as file:
            for page in file.pages:
                factor = round(WIDTH / page.imagewidth)
                for number, place in enumerate(zip(page.dataoffsets, page.databytecounts, strict=True)):
                    row, column = divmod(number, -(-page.imagewidth // BLOCK))
                    expected[url, factor, row, column] = place
    found = {(r["url"], r["factor"], r["row"], r["column"]): (r["offset"], r["length"]) for r in rows}
    assert found == expected
    hrefs = {row["id"]: row["assets"] for row in refs.scenes.select(["id", "assets"]).to_pylist()}
    assert all(row["url"] == hrefs[row["id"]][row["asset"]]["href"] for row in rows)
    assert not any(row["inlined"] for row in rows)


def test_each_tile_lies_where_rasterio_puts_its_window(refs):
    rows = refs.tiles(
        ["id", "asset", "row", "column", "x_offset", "y_offset", "width", "height", "bounds", "bbox", "crs"],
        where="factor = 1 AND asset = 'red'",
    )
    hrefs = {row["id"]: row["assets"]["red"]["href"] for row in refs.scenes.select(["id", "assets"]).to_pylist()}
    for row in rows.read_all().to_pylist():
        with rasterio.open(hrefs[row["id"]]) as file:
            window = Window(row["x_offset"], row["y_offset"], row["width"], row["height"])
            block = file.block_window(1, row["row"], row["column"])
            assert (block.col_off, block.row_off, block.width, block.height) == (
                window.col_off, window.row_off, window.width, window.height,
            )  # fmt: skip
            box = window_bounds(window, file.transform)
            assert tuple(row["bounds"].values()) == box
            assert row["crs"] == "EPSG:32643"
            assert np.allclose(
                tuple(row["bbox"].values()),
                transform_bounds(file.crs, "OGC:CRS84", *box, densify_pts=21),
                rtol=0,
                atol=1e-7,
            )


def test_sql_selects_bytes_by_scene_place_and_tile(refs, location):
    tiles = refs.tiles()  # noqa: F841 - DuckDB finds it by its name
    found = duckdb.sql(
        """select t.id, count(*), sum(t.length) from tiles t where t.factor = 1 and t.asset = 'nir'
        and t."eo:cloud_cover" < 15 group by t.id order by t.id"""
    ).fetchall()
    scenes = duckdb.sql(
        f"""select id from '{location}/scenes.parquet' where "eo:cloud_cover" < 15 order by id"""  # noqa: S608
    ).fetchall()
    assert [row[0] for row in found] == [row[0] for row in scenes]
    assert {row[1] for row in found} == {DOWN * ACROSS}
    frame = pl.DataFrame(refs.tiles(["id", "length"]))
    assert frame["length"].sum() == pc.sum(refs.tiles(["length"]).read_all()["length"]).as_py()


@pytest.mark.parametrize(
    "where",
    [
        'asset = \'red\' AND "eo:cloud_cover" < 15 AND "row" = 1',
        "factor = 2",
        "id = 'S2A_43PGQ_000' AND (asset = 'red' OR factor = 2)",
        "bbox.xmin > 76.5 AND \"group\" LIKE '%700000%'",
        "length > 100 AND platform = 'sentinel-2a'",
        "NOT inlined",
    ],
)
def test_conditions_select_what_duckdb_selects_of_all_tiles(refs, where):
    everything = refs.tiles().read_all()  # noqa: F841 - DuckDB finds it by its name
    names = ["id", "asset", "factor", "row", "column", "offset"]
    quoted = ", ".join(f'"{name}"' for name in names)
    expected = duckdb.sql(f"select {quoted} from everything where {where}").fetchall()  # noqa: S608
    found = [tuple(row.values()) for row in refs.tiles(names, where=where).read_all().to_pylist()]
    assert sorted(found) == sorted(expected)
    assert expected


def test_an_arrow_expression_selects_tiles_too(refs):
    found = refs.tiles(["row"], where=(pc.field("asset") == "red") & (pc.field("row") == 0)).read_all()
    assert len(found) == 8 * (ACROSS + 2)  # one row of two tiles' worth of columns in the overview


def test_nothing_is_read_before_it_is_asked_for_nor_what_is_not_wanted(refs, monkeypatch):
    read = []
    original = SealedSet.table
    monkeypatch.setattr(
        SealedSet, "table", lambda self, path, number: read.append(path) or original(self, path, number)
    )
    stream = refs.tiles(["id", "url", "offset"], where="asset = 'red' AND factor = 1 AND id = 'S2A_43PGQ_000'")
    assert read == []
    assert len(stream.read_all()) == DOWN * ACROSS
    assert {path.rpartition("/")[2] for path in read} <= {"red", "id"}
    read.clear()
    refs.tiles(["id", "row", "column", "bbox"]).read_all()
    assert {path.rpartition("/")[2] for path in read} == {"id"}


def test_batches_stay_small_however_many_tiles_there_are(refs):
    from rasteret_refs.refset.tiles import tiles

    reader = tiles(refs.view, batch=2 * DOWN * ACROSS)
    sizes = [batch.num_rows for batch in reader]
    assert max(sizes) <= 2 * DOWN * ACROSS
    assert sum(sizes) == len(refs.tiles().read_all())


def test_tiles_of_a_view_are_those_of_its_scenes(refs):
    view = refs.where("id LIKE '%GQ%'").select(["S2A_43PGQ_000", "S2A_43PGQ_004"])
    found = view.tiles(["id"]).read_all()["id"].unique().to_pylist()
    assert sorted(found) == ["S2A_43PGQ_000", "S2A_43PGQ_004"]


def test_a_column_that_there_is_not_is_refused_at_once(refs):
    with pytest.raises(QueryError, match="colour"):
        refs.tiles(["colour"])
    with pytest.raises(QueryError, match="colour"):
        refs.tiles(where="colour = 3")


def test_scenes_that_lack_an_asset_have_no_tiles_of_it_and_sparse_tiles_are_told(tmp_path):
    paths = {k: write_cog(tmp_path / f"{k}.tif", pixels_of(k), transform_of("43PGQ")) for k in range(3)}
    sparse = np.zeros((HEIGHT, WIDTH), np.uint16)
    sparse[:BLOCK, :BLOCK] = 9
    paths[3] = write_cog(tmp_path / "sparse.tif", sparse, transform_of("43PGQ"), sparse_ok=True)
    stac = [item("both", {"red": paths[0], "nir": paths[1]}, START), item("one", {"red": paths[3]}, START)]
    refs = rr.build(stac, tmp_path / "x.refs")
    rows = refs.tiles(["id", "asset", "row", "column", "url", "length", "inlined"], where="factor = 1").read_all()
    assert len(rows) == 3 * DOWN * ACROSS
    table = rows.to_pylist()
    assert not [row for row in table if row["id"] == "one" and row["asset"] == "nir"]
    mine = {(r["row"], r["column"]): r for r in table if r["id"] == "one"}
    assert {place for place, r in mine.items() if not r["inlined"]} == {(0, 0)}
    assert all((r["url"] is None) == r["inlined"] == (r["length"] is None) for r in mine.values())


@pytest.mark.parametrize("interleave", ["band", "pixel"])
def test_bands_have_tiles_of_their_own_only_where_the_file_keeps_them_apart(tmp_path, interleave):
    pixels = np.stack([pixels_of(1), pixels_of(2), pixels_of(3)])
    path = write_cog(tmp_path / "a.tif", pixels, transform_of("43PGQ"), interleave=interleave)
    refs = rr.build([item("one", {"image": path}, START)], tmp_path / "x.refs")
    table = refs.tiles(["band", "row", "column", "offset"], where="factor = 1").read_all()
    with tifffile.TiffFile(path) as file:
        offsets = list(file.pages.first.dataoffsets)
    assert table["offset"].to_pylist() == offsets
    bands = [None] if interleave == "pixel" else [0, 1, 2]
    assert table["band"].unique().to_pylist() == bands


def test_stacks_give_each_scene_s_tiles_its_own_place(tmp_path, stac_items, refs):
    stack = rr.build(stac_items, tmp_path / "x.refs", layout="stack")
    names = ["id", "asset", "factor", "row", "column", "offset", "length", "bounds", "bbox", "crs"]
    key = ["id", "asset", "factor", "row", "column"]
    one, other = (
        sorted(c.tiles(names).read_all().to_pylist(), key=lambda row: [str(row[name]) for name in key])
        for c in (stack, refs)
    )
    assert one == other


def test_the_stream_has_the_documented_columns_first(refs):
    from rasteret_refs.refset.tiles import TILE_SCHEMA

    schema = refs.tiles().schema
    assert schema.names[: len(TILE_SCHEMA.names)] == TILE_SCHEMA.names
    assert {"datetime", "eo:cloud_cover", "platform", "collection"} <= set(schema.names)
    assert isinstance(refs.tiles(), pa.RecordBatchReader)


def test_padding_of_a_stack_is_nobody_s_tile(tmp_path):
    """Images of several sizes in one array: tiles end where each image ends, as rasterio has it."""
    stac = []
    for number, (height, width) in enumerate([(300, 260), (290, 250), (300, 385)]):
        pixels = np.full((height, width), number + 1, np.uint16)
        path = write_cog(tmp_path / f"{number}.tif", pixels, transform_of("43PGQ"))
        stac.append(item(f"scene-{number}", {"red": path}, START))
    refs = rr.build(stac, tmp_path / "x.refs", layout="stack", tolerance=0.25)
    names = ["id", "row", "column", "x_offset", "y_offset", "width", "height", "inlined"]
    found = refs.tiles(names, where="factor = 1").read_all().to_pylist()
    expected = []
    for one in stac:
        with rasterio.open(one["assets"]["red"]["href"]) as file:
            for (row, column), window in file.block_windows(1):
                place = (window.col_off, window.row_off, window.width, window.height)
                expected.append((one["id"], row, column, *place, False))
    assert sorted(tuple(row.values()) for row in found) == sorted(expected)
    assert len(refs.groups) < 3
    chips = refs.assign_splits(unit="chip", chip_size=50, write=False).view.tiles.to_pylist()
    most = {name: max(c["x_offset"] + 50 for c in chips if c["id"] == name) for name in ("scene-1", "scene-2")}
    assert most == {"scene-1": 250, "scene-2": 350}
