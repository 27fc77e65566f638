"""What the reader of sets does with any bytes in the place of one of a set's files, under a seal that fits."""

import json
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rasteret_refs.errors import NotFoundError, ObjectError, RasteretRefsError
from rasteret_refs.objects.authority import Authority
from rasteret_refs.read.groups import list_groups
from rasteret_refs.read.reader import Reader
from rasteret_refs.read.view import to_xarray
from rasteret_refs.refset.audit import audit
from rasteret_refs.refset.cite import cite
from rasteret_refs.refset.layout import FAILURES, SCENES, SEAL, TILES, ZMETADATA, record_name
from rasteret_refs.refset.opened import TABLE_BYTES, OpenedRefset
from rasteret_refs.refset.query import select_rows
from rasteret_refs.refset.seal import FileHash, Seal
from rasteret_refs.refset.sealed import SealedSet
from rasteret_refs.refset.trust import storage_of
from rasteret_refs.refset.versions import SourceVersions
from rasteret_refs.refset.views import View
from rasteret_refs.refset.views_map import footprint_map
from tests.trust.mutate import mutated_anywhere

PLACE = "https://images.example.org/"
LARGEST_READ = 1 << 20
"""Values of arrays that are read: larger ones are refused nowhere, and take their time rightly."""
REPLACED = (
    SEAL, ZMETADATA, SCENES, TILES, FAILURES, record_name("factor_1/image", 0), record_name("factor_1/id", 0),
)  # fmt: skip
"""Files that a case may replace."""


class MemoryFiles:
    """A set's files in memory."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.location = f"{PLACE}x.refs"
        self.files = files

    def read(self, name: str, most: int | None = None) -> bytes:
        """See `refset.files.SetFiles`."""
        del most
        if name not in self.files:
            raise NotFoundError(f"{name}: expected a file, got none")
        return self.files[name]

    def names(self) -> set[str] | None:
        """See `refset.files.SetFiles`."""
        return set(self.files)


class MemoryObjects:
    """The base's objects, any other holds zeros, without a network; the authority is asked as the client asks it."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    @staticmethod
    def is_local(url: str) -> bool:
        """See `read.reader.Ranges`."""
        del url
        return False

    async def ranges(self, url: str, ranges: Sequence[Any], **_: Any) -> list[bytes]:
        """See `read.reader.Ranges`."""
        self._authority(url)
        if any(wanted.stop - wanted.start > LARGEST_READ for wanted in ranges):
            raise ObjectError(f"{url}: expected ranges within the object")
        data = _base()[1].get(url)
        if data is None:
            return [bytes(wanted.stop - wanted.start) for wanted in ranges]
        return [data[wanted.start : wanted.stop] for wanted in ranges]

    def read_now(self, url: str, start: int, stop: int, **_: Any) -> bytes:
        """See `read.reader.Ranges`."""
        raise AssertionError(f"a file of a stranger's set was asked for: {url} {start} {stop}")


def base_files() -> Mapping[str, bytes]:
    """Give the files of a small sound set over public URLs, with failures and labels by tile."""
    return _base()[0]


@cache
def _base() -> tuple[Mapping[str, bytes], Mapping[str, bytes]]:
    """Give the base set's files, and its objects by URL."""
    import rasteret_refs as rr
    from tests.servers.range_server import serve
    from tests.trust.conftest import write_scene

    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for number in range(2):
            write_scene(directory / f"s{number}.tif", number, side=128)
        (directory / "bad.tif").write_bytes(b"not a TIFF")
        out = directory / "x.refs"
        with serve(directory) as server:
            urls = [f"{server.url}{file}" for file in ("s0.tif", "s1.tif", "bad.tif")]
            refs = rr.build(urls, out, on_error="skip")
            labels = {"group": [refs.groups[0].path], "row": [0], "column": [0], "label": [1]}
            refs.annotate(labels, on=("group", "row", "column"))
            rr.open(out).relocate({server.url: PLACE})
        files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
        return files, {f"{PLACE}s{number}.tif": (directory / f"s{number}.tif").read_bytes() for number in range(2)}


@cache
def base_seal() -> Seal:
    """Give the seal of `base_files`."""
    return Seal.from_bytes(base_files()[SEAL], PLACE)


def plain_form(name: str) -> bytes:
    """Give a file of the base in the form that mutations get deepest into: Parquet uncompressed, the seal unsigned."""
    data = base_files()[name]
    if name == SEAL:
        return data.rpartition(b',\n "sha256"')[0]
    if not name.endswith(("parq", "parquet")):
        return data
    sink = pa.BufferOutputStream()
    pq.write_table(pq.read_table(pa.BufferReader(data)), sink, compression="none", store_schema=False)
    return bytes(sink.getvalue())


def with_file(name: str, data: bytes) -> dict[str, bytes]:
    """Replace one file of the base and seal the set anew, as a stranger could."""
    import hashlib
    from dataclasses import replace

    files = dict(base_files())
    if name == SEAL:
        files[SEAL] = data + b',\n "sha256": "' + hashlib.sha256(data + b"\n}\n").hexdigest().encode() + b'"\n}\n'
        return files
    seal, entry = base_seal(), FileHash.of(data)
    files[name] = data
    array = name.removeprefix("zarr.parq/").rpartition("/")[0]
    if array in seal.records and name != ZMETADATA:
        seal = replace(seal, records={**seal.records, array: (entry, *seal.records[array][1:])})
    else:
        seal = replace(seal, files={**seal.files, name: entry})
    files[SEAL] = seal.to_bytes()
    return files


def use(files: Mapping[str, bytes]) -> str:
    """Open a set and do all that reads it; the class of the last error of ours, or `sound`.

    Any other error is a finding, and so is a request that the authority did not see.
    """
    said = "sound"
    try:
        opened = OpenedRefset.__new__(OpenedRefset)
        opened.__setstate__((SealedSet.open(MemoryFiles(files)), TABLE_BYTES))
        groups = list_groups(opened.metadata)
    except RasteretRefsError as error:
        return type(error).__name__
    repr(groups)
    authority = Authority(tuple(opened.seal.sources), (), trusted=False, name="x.refs")
    reader = Reader(opened, MemoryObjects(authority), versions=SourceVersions(opened))
    steps = [lambda: opened.scenes, opened.tiles, opened.failures, opened.verify]
    steps += [lambda: json.dumps(audit(opened).as_json())]
    steps += [lambda: cite(opened).text(), lambda: storage_of(opened.seal, opened.sha256, None)]
    steps += [lambda: footprint_map(opened.scenes), lambda: opened.scenes and select_rows(opened.scenes, "id <> 'x'")]
    steps += [lambda group=group: _to_xarray(reader, opened, group.path) for group in groups]
    steps += [lambda path=path: _read(reader, path) for path in _arrays(opened)]
    for step in steps:
        try:
            step()
        except RasteretRefsError as error:
            said = type(error).__name__
    return said


def _to_xarray(reader: Reader, opened: OpenedRefset, group: str) -> None:
    repr(to_xarray(reader, View(refset=opened), group))


def _arrays(opened: OpenedRefset) -> list[str]:
    return [key.removesuffix("/.zarray") for key in opened.metadata if key.endswith("/.zarray")]


def _read(reader: Reader, path: str) -> None:
    array = reader.array(path)
    size = 1
    for side in array.shape:
        size *= side
    if size * max(array.dtype.itemsize, 1) <= LARGEST_READ:
        reader.read(path)


def case(number: int) -> tuple[str, bytes]:
    """Give the name and the bytes of a mutated file, always the same of a number."""
    source = random.Random(number)  # noqa: S311 - to be repeated
    name = REPLACED[number % len(REPLACED)]
    data = plain_form(name) if source.random() < 0.8 else base_files()[name]
    is_text, times = name.endswith(("json", ".zmetadata")), source.choice((1, 1, 2, 3))
    if source.random() < 0.7:
        return name, _mutated_document(data, times, source) if is_text else _mutated_table(data, times, source)
    for _ in range(times):
        if len(data) > 16:
            data = _mutated_text(data, source) if is_text else mutated_anywhere(data, source)
    return name, data


TEXTS = (
    "null", "-1", "1e999", "-1e999", "NaN", str(2**64), "1" * 5000, "[" * 2000, '"\\ud800"', '"\\u0000"',
    '{"id": "pickle"}',
)  # fmt: skip
"""JSON of values where parsers go wrong."""
VALUES = (
    None, 0, 1, -1, 2**31, 2**62, 2**63, 10**30, 1.5, float("inf"), True, [], {}, "", "x", "../x", "/etc/passwd",
    "file:///etc/passwd", "http://127.0.0.1/", "http://[::1/", "https://images.example.org/../x", [None], [0], ["x"],
    [[]], [1] * 40, {"id": "pickle"}, {"id": None}, "<U2000000000", "|O", "<u2", "<c16", "|S0", "\0", "\x1b[2J",
    "days since 0000-00-00", "nan", "a" * 100_000,
)  # fmt: skip
"""Values where those go wrong who use what was parsed."""


def _mutated_text(data: bytes, source: random.Random) -> bytes:
    """Replace a value of a JSON text by another's text, or bytes of it by any."""
    if source.random() < 0.2:
        return mutated_anywhere(data, source)
    marks = [at for at in range(len(data)) if data[at : at + 1] in {b":", b",", b"["}]
    at = source.choice(marks) + 1 if marks else 0
    ends = (stop for stop in range(at + 1, len(data)) if data[stop : stop + 1] in {b",", b"]", b"}", b"\n"})
    return data[:at] + b" " + source.choice(TEXTS).encode() + data[next(ends, len(data)) :]


def _mutated_document(data: bytes, times: int, source: random.Random) -> bytes:
    """Replace, remove or double entries of a JSON document at any depth; it stays JSON."""
    unsigned = data == plain_form(SEAL)
    document = json.loads(data + b"}" if unsigned else data)
    for _ in range(times):
        places = list(_places(document))
        holder, key = source.choice(places)
        what = source.random()
        if what < 0.75:
            holder[key] = deepcopy(source.choice(VALUES))  # else the next case would find what this one changed
        elif what < 0.85 and isinstance(holder, dict):
            name = source.choice(("../x/.zarray", "a/.zattrs", "x", ".zgroup", "factor_1/image/.zarray"))
            holder[name] = deepcopy(holder[key])
        else:
            del holder[key]
    text = json.dumps(document, indent=1)
    return text.encode() if not unsigned else text.rpartition("\n}")[0].encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in entries:
        yield value, key
        yield from _places(entry)


def _mutated_table(data: bytes, times: int, source: random.Random) -> bytes:
    """Change types, values, rows or columns of a table; it stays Parquet."""
    table = pq.read_table(pa.BufferReader(data))
    for _ in range(times):
        table = _mutated_columns(table, source)
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(table, sink, compression="none", store_schema=source.random() < 0.5)
    except pa.ArrowException:
        return data
    return bytes(sink.getvalue())


def _mutated_columns(table: pa.Table, source: random.Random) -> pa.Table:
    what = source.randrange(7)
    if what == 0:
        return table.slice(0, source.randrange(2))
    if what == 1:
        return pa.concat_tables([table] * source.choice((2, 3, 300)))
    if not table.column_names:
        return table
    at = source.randrange(table.num_columns)
    name, column = table.column_names[at], table.column(at)
    if what == 2:
        return table.remove_column(at)
    if what == 3:
        return table.append_column(name, column)
    if what == 4:
        new = source.choice(("id", "assets", "path", "", "\x1b[2J"))
        return table.rename_columns([new if old == name else old for old in table.column_names])
    if what == 5:
        return table.set_column(at, name, pa.nulls(len(table), column.type))
    values = [source.choice(VALUES)] * len(table)
    if source.random() < 0.5:
        values = [source.choice(VALUES) for _ in values]
    try:
        return table.set_column(at, name, pa.array(values, column.type if source.random() < 0.5 else None))
    except (pa.ArrowException, OverflowError):
        return table
