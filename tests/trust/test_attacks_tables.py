"""Attacks by a set's tables: Parquet that grows without end, damaged footers, columns of another kind."""

import base64
import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import rasteret_refs as rr
from rasteret_refs.errors import (
    DamagedError,
    RasteretRefsError,
)
from rasteret_refs.refset import parquet_footer
from rasteret_refs.refset.bounded import read_bounded
from rasteret_refs.refset.geoparquet import read_table
from rasteret_refs.refset.manifest import read_record
from rasteret_refs.refset.parquet_footer import read_footer
from tests.trust.forge import parquet, reported, resealed
from tests.trust.set_cases import base_files


def _repeated(count: int, length: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), ["y" * length])


def _as_type(data: bytes, kind: pa.DataType) -> bytes:
    """Let a file say that its only column is of another Arrow type."""
    table = pq.read_table(pa.BufferReader(data), read_dictionary=["id"])
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"ARROW:schema": base64.b64encode(pa.schema({"id": kind}).serialize()).decode()})
    return sink.getvalue()


def _varint(number: int, length: int = 0) -> bytes:
    """Write a number of Thrift's, zigzag, in as many bytes as asked for."""
    number, found = 2 * number, bytearray()
    while number or len(found) < max(length, 1):
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found[-1] &= 0x7F
    return bytes(found)


def _with_number(data: bytes, field: int, claimed: int, *, group: bool = False) -> bytes:
    """Change a number of the first column chunk's metadata (or of the row group) in the footer, and nothing else."""
    about = pq.read_metadata(io.BytesIO(data)).row_group(0)
    names = {5: "num_values", 6: "total_uncompressed_size", 7: "total_compressed_size", 9: "data_page_offset"}
    old = about.num_rows if group else getattr(about.column(0), names[field])
    length = int.from_bytes(data[-8:-4], "little")
    footer, plain = data[-8 - length : -8], _varint(old)
    places = [at for at in range(len(footer)) if footer[at:].startswith(bytes([0x16]) + plain)]
    found = []
    for at in places:  # the right one is that which pyarrow reads back
        new = footer[: at + 1] + _varint(claimed, len(plain)) + footer[at + 1 + len(plain) :]
        changed = data[: -8 - length] + new + data[-8:]
        with contextlib.suppress(OSError):
            now = pq.read_metadata(io.BytesIO(changed)).row_group(0)
            if (now.num_rows if group else getattr(now.column(0), names[field])) == claimed:
                found.append(changed)
    return found[0]


BOMBS: dict[str, Callable[[], bytes]] = {
    "zeros": lambda: parquet(pa.table({"id": ["0" * (9 << 24)]}), use_dictionary=False),
    "one text many times": lambda: parquet(
        pa.table({"id": pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), ["y" * (1 << 20)])})
    ),
    "one text many times within": lambda: parquet(
        pa.table({
            "id": pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), ["x"]),
            "assets": pa.StructArray.from_arrays(
                [pa.DictionaryArray.from_arrays(pa.array(np.zeros(100_000, np.int32)), ["y" * (1 << 20)])], ["href"]
            ),
        })
    ),
    "shared beginnings": lambda: parquet(
        pa.table({"id": pa.array([b"y" * (1 << 18)], pa.binary()).take(pa.array(np.zeros(1000, np.int32)))}),
        use_dictionary=False, column_encoding={"id": "DELTA_BYTE_ARRAY"}, row_group_size=1 << 20,
    ),
    "shared beginnings in one list": lambda: parquet(
        pa.table({"id": pa.ListArray.from_arrays(pa.array([0, 3000]), _repeated(3000, 1 << 17).cast(pa.string()))}),
        use_dictionary=False, column_encoding={"id.list.element": "DELTA_BYTE_ARRAY"},
    ),
    "one text many times in a list": lambda: parquet(
        pa.table({"id": pa.ListArray.from_arrays(pa.array([0, 3000]), _repeated(3000, 1 << 20))})
    ),
    "one text many times in lists of one length": lambda: _as_type(
        parquet(pa.table({"id": _repeated(3000, 1 << 20)})), pa.list_(pa.string(), 3000)
    ),
    "one text many times as a map": lambda: parquet(
        pa.table({
            "id": pa.MapArray.from_arrays(pa.array([0, 3000]), [str(n) for n in range(3000)], _repeated(3000, 1 << 20))
        })
    ),
    "texts of one length": lambda: parquet(
        pa.table({"id": pa.array([b"y" * (1 << 20)], pa.binary(1 << 20)).take(pa.array(np.zeros(150, np.int32)))}),
        dictionary_pagesize_limit=1 << 30,
    ),
    "a footer that says less than its pages": lambda: _with_number(
        parquet(pa.table({"id": _repeated(3000, 1 << 20)})), 6, 10
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_tables_that_grow_without_end_are_refused_before_they_do(name: str) -> None:
    import resource

    data = BOMBS[name]()
    assert len(data) < 1 << 21
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DamagedError, match="decoded bytes"):
        read_bounded(data)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 256


def test_more_rows_than_a_set_can_have_are_refused() -> None:
    data = parquet(pa.table({"path": pa.array([""] * 1000), "offset": np.zeros(1000, np.int64)}))
    assert len(read_bounded(data)) == 1000
    with pytest.raises(DamagedError, match="999 rows"):
        read_bounded(data, rows=999)


def test_large_sound_tables_are_read() -> None:
    """Many scenes with long texts that come again: what a bomb looks like, but is not."""
    count = 60_000
    table = pa.table({
        "id": [f"S2A_MSIL2A_20240101T000000_{number:012d}" for number in range(count)],
        "href": [f"s3://sentinel-cogs/sentinel-s2-l2a-cogs/43/P/GQ/2024/1/{number}/B04.tif" for number in range(count)],
        "collection": ["sentinel-2-l2a"] * count, "nothing": pa.nulls(count, pa.string()),
        "links": [[{"href": "https://example.org/" + "x" * 200, "rel": "self"}]] * count,
    })  # fmt: skip
    prefixed = {"id": "DELTA_BYTE_ARRAY", "href": "DELTA_BYTE_ARRAY"}
    for options in ({}, {"use_dictionary": False, "column_encoding": prefixed}):
        assert read_table(pa.BufferReader(parquet(table, **options)), "x").equals(table)


def test_a_footer_that_ends_pyarrow_s_process_is_read_by_python(tmp_path: Path) -> None:
    """pyarrow 26 lets a C++ exception escape from `metadata.row_group(0).column(0)` where size statistics are odd."""
    data = bytearray(parquet(pa.table({"a": pa.array(["x", None, "y"])})))
    footer = read_footer(memoryview(bytes(data)))
    assert footer.rows == 3
    assert footer.columns[0].values == 3
    for at in range(len(data)):
        for bit in (1, 2, 16, 128):
            changed = bytes(data[:at]) + bytes([data[at] ^ bit]) + bytes(data[at + 1 :])
            try:
                read_table(pa.BufferReader(changed), "x")
            except DamagedError:
                continue
    for record in (b"", b"PAR1", b"PAR1PAR1", b"\xff" * 8 + b"PAR1", bytes(data[:-1])):
        with pytest.raises(RasteretRefsError):
            read_record(record)


def check_footer(data: bytes) -> None:
    footer, metadata = read_footer(memoryview(data)), pq.read_metadata(pa.BufferReader(data))
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    assert footer.rows == metadata.num_rows
    assert len(footer.columns) == metadata.num_columns
    for number, column in enumerate(footer.columns):
        about, chunks = metadata.schema.column(number), [group.column(number) for group in groups]
        assert column.path == about.path
        assert column.is_text == ("BYTE_ARRAY" in about.physical_type)
        assert column.width == (about.length if about.physical_type == "FIXED_LEN_BYTE_ARRAY" else 0)
        assert column.repeated == (about.max_repetition_level > 0)
        assert column.values == sum(chunk.num_values for chunk in chunks)
        assert column.stored == sum(chunk.total_uncompressed_size for chunk in chunks if chunk.num_values)
        assert column.prefixed == any("DELTA_BYTE_ARRAY" in chunk.encodings for chunk in chunks if chunk.num_values)


def test_footers_say_what_pyarrow_says() -> None:
    for name, data in base_files().items():
        if name.endswith(("parq", "parquet")):
            check_footer(data)


@pytest.mark.parametrize("pages", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("encoding", [None, "PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_footers_of_any_writer_s_options_say_what_pyarrow_says(pages: str, compression: str, encoding: Any) -> None:
    count = 3000
    texts = pa.array([None if n % 7 == 0 else f"text {n % 40}" * (n % 5) for n in range(count)])
    struct = pa.StructArray.from_arrays([texts, pa.array(range(count))], ["href", "size"])
    columns = {"id": texts, "n": pa.array(range(count)), "yes": pa.array([n % 3 == 0 for n in range(count)])}
    columns |= {"assets": struct, "empty": pa.nulls(count, pa.string())}
    columns |= {"links": pa.array([[{"href": "x" * (n % 9)}] * (n % 3) or None for n in range(count)])}
    columns |= {"fixed": pa.array([b"abcd"] * count, pa.binary(4)), "when": pa.array([0.5] * count)}
    paths = ("id", "assets.href", "links.list.element.href")
    chosen = {"use_dictionary": False, "column_encoding": dict.fromkeys(paths, encoding)} if encoding else {}
    for table in (pa.table(columns), pa.table(columns).slice(0, 0)):
        data = parquet(
            table, compression=compression, data_page_version=pages, row_group_size=1300, data_page_size=2000, **chosen
        )
        check_footer(data)
        assert read_bounded(data).equals(pq.read_table(pa.BufferReader(data)))


@pytest.mark.parametrize(
    ("field", "claimed", "group"), [(5, 7, False), (5, 4000, False), (3, 7, True), (3, 4000, True), (7, 20, False)]
)
def test_footers_that_contradict_their_pages_are_refused(field: int, claimed: int, group: bool) -> None:
    """pyarrow believes the pages: two kilobytes became gigabytes behind a footer that claimed ten bytes."""
    data = parquet(pa.table({"id": [str(number) for number in range(3000)]}))
    with pytest.raises(ValueError, match="expected"):
        read_bounded(_with_number(data, field, claimed, group=group))


def test_pages_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data = parquet(pa.table({"id": [str(number) for number in range(3000)]}), data_page_size=100, write_batch_size=10)
    check_footer(data)
    monkeypatch.setattr(parquet_footer, "MOST_PAGES", 20)
    with pytest.raises(ValueError, match="at most 20 pages"):
        read_bounded(data)


@pytest.mark.parametrize("text", [b"\xfe", b"\xed\xa0\x80", b"a\xff", b"\xc0\x80"])
def test_texts_that_are_none_are_refused(text: bytes) -> None:
    """pyarrow reads them, and raises `UnicodeDecodeError` where they are first looked at."""
    array = pa.Array.from_buffers(pa.string(), 1, pa.array([text], pa.binary()).buffers())
    for column in (array, array.dictionary_encode(), pa.StructArray.from_arrays([array], ["href"])):
        data = parquet(pa.table({"id": column}))
        with pytest.raises(DamagedError):
            read_table(pa.BufferReader(data), "x")
        with pytest.raises(pa.ArrowInvalid, match="UTF8"):
            read_bounded(data)


TABLES: dict[str, Callable[[pa.Table], pa.Table]] = {
    "two columns of one name": lambda t: t.append_column("id", t["id"]),
    "ids that are numbers": lambda t: t.set_column(t.column_names.index("id"), "id", pa.array(range(len(t)))),
    "no ids": lambda t: t.drop_columns(["id"]),
    "assets that are texts": lambda t: t.set_column(t.column_names.index("assets"), "assets", pa.array(["x"] * len(t))),
    "hrefs that are numbers": lambda t: t.set_column(
        t.column_names.index("assets"), "assets", pa.array([{"image": {"href": 1}}] * len(t))
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_scene_tables_of_another_kind_are_refused_and_reported(local_refs: Path, tmp_path: Path, name: str) -> None:
    """Each of them ended in `KeyError`, `TypeError` or `AttributeError`."""
    table = TABLES[name](rr.open(local_refs).refset.all_scenes)
    out = resealed(local_refs, tmp_path / "x.refs", "scenes.parquet", parquet(table))
    with pytest.raises(DamagedError, match=r"scenes\.parquet"):
        len(rr.open(out).scenes)
    assert {finding["kind"] for finding in reported(out)} >= {"damage"}
