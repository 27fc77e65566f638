"""Attacks that once came through, or nearly: credentials, addresses, redirections, names and bombs of strangers."""

import http.server
import io
import os
import pickle
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import rasteret_refs as rr
from rasteret_refs.cli import main
from rasteret_refs.errors import (
    AccessError,
    ChangedError,
    DamagedError,
    ObjectError,
    RasteretRefsError,
    UnauthorisedSourceError,
)
from rasteret_refs.objects.authority import Authority
from rasteret_refs.objects.blocking import run
from rasteret_refs.objects.client import Objects
from rasteret_refs.objects.stores import options_for
from rasteret_refs.refset.bounded import read_bounded
from rasteret_refs.refset.geoparquet import read_table
from rasteret_refs.refset.manifest import read_record
from rasteret_refs.refset.parquet_footer import read_footer
from rasteret_refs.refset.secrets import redacted, secret_in_url
from tests.servers.range_server import Server
from tests.trust.forge import IMAGE, forged, reported
from tests.trust.set_cases import base_files, with_file

STRANGE: dict[str, Any] = {"storage": {"s3://x/": {"region": "us-west-2"}}}
"""Makes a copy of a set a stranger's: its seal is another."""


@contextmanager
def recorder(body: bytes = b"") -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Serve any path with a body, and note the headers of each request, names in lower case."""
    seen: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            first, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last or len(body)) + 1, len(body))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(body)}")
            self.send_header("Content-Length", str(stop - start))
            self.end_headers()
            self.wfile.write(body[start:stop])

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def guarded(*allow: str, storage: dict[str, Any] | None = None) -> Objects:
    """Give a client as a stranger's set has it."""
    return Objects(storage, retries=0, authorise=Authority((), allow))


@pytest.mark.parametrize(
    ("prefix", "url"),
    [
        ("https://good.example", "https://good.example.evil/x.tif"),
        ("https://good.example", "https://good.example@evil.example/x.tif"),
        ("https://good.example", "https://good.example:8443/x.tif"),
        ("https://data.earthdata.nasa.gov", "https://data.earthdata.nasa.gov.evil.example/x.tif"),
        ("s3://mine", "s3://mine-too/x.tif"),
        ("/data", "/database/x.tif"),
    ],
)
def test_storage_options_are_not_those_of_a_name_that_only_begins_alike(prefix: str, url: str) -> None:
    """A token for good.example went to good.example.evil."""
    assert options_for(url, {prefix: {"token": "SECRETTOKEN"}}) == ("", {})
    assert options_for(f"{prefix}/x.tif", {prefix: {"token": "t"}})[0] == prefix
    assert options_for(f"{prefix}/x.tif", {f"{prefix}/": {"token": "t"}})[0] == f"{prefix}/"


def test_netrc_is_not_sent_wherever_a_set_leads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiohttp's `trust_env` gave the default entry of ~/.netrc to any host."""
    (tmp_path / "netrc").write_text("default login me password SECRETPASSWORD\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with recorder(bytes(1000)) as (url, seen):
        run(guarded(url).fetch(f"{url}x.tif", 0, 10))
    assert len(seen) == 1
    assert "authorization" not in seen[0]


def test_a_proxy_of_the_environment_is_asked_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    with recorder(bytes(1000)) as (proxy, seen):
        monkeypatch.setenv("http_proxy", proxy)
        monkeypatch.setenv("no_proxy", "")
        run(guarded("http://images.example.org/").fetch("http://images.example.org/x.tif", 0, 10))
    assert seen[0]["host"] == "images.example.org"


def test_headers_of_the_caller_stay_with_the_host_they_were_given_for(served: Server) -> None:
    """Only `Authorization` was left out at a redirection; keys have other names too."""
    headers = {"X-Api-Key": "SECRETKEY", "Authorization": "Bearer SECRETTOKEN", "Cookie": "s=SECRETSIG"}
    storage = {served.url: {"client_options": {"default_headers": headers}}}
    with recorder(bytes(1000)) as (url, seen):
        served.fail("redirect", path="s0.tif", location=f"{url}s0.tif")
        run(guarded(served.url, url, storage=storage).fetch(f"{served.url}s0.tif", 0, 10))
    assert len(seen) == 1
    assert "SECRET" not in str(seen)
    assert seen[0]["range"] == "bytes=0-9"


def test_an_allowed_host_is_allowed_on_its_port_only(canary: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns a name that was allowed could let it resolve to this machine, and name any port."""
    genuine = socket.getaddrinfo

    def lying(host: Any, *arguments: Any, **options: Any) -> Any:
        return genuine("127.0.0.1" if host == "good.example" else host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lying)
    url = f"http://good.example:{canary.port}/"
    objects = Objects(retries=0, authorise=Authority((url,), ("http://good.example/data/",)))
    with pytest.raises(UnauthorisedSourceError, match="no public address"):
        run(objects.fetch(f"{url}s0.tif", 0, 10))
    assert canary.stats().requests == 0


@pytest.mark.parametrize("inside", ["x?/../../secret.tif", "x?y/../../secret.tif", "a/../../secret.tif", "%2e%2e/x"])
def test_an_allowed_directory_cannot_be_left(tmp_path: Path, inside: str) -> None:
    """What stands behind a question mark was not looked at, though it is part of a file's name."""
    authority = Authority((), (f"{tmp_path}/allowed/",))
    with pytest.raises(UnauthorisedSourceError):
        authority(f"{tmp_path}/allowed/{inside}")
    with pytest.raises(UnauthorisedSourceError):
        authority(f"file://{tmp_path}/allowed/{inside}")


@pytest.mark.parametrize("between", ["\t", "\n", "\r", "\0", " "])
def test_dots_are_seen_through_what_parsers_drop(served: Server, between: str) -> None:
    """`.<tab>.` is no `..` by its text, but parsers drop tabs and line ends."""
    with pytest.raises(UnauthorisedSourceError):
        run(guarded(f"{served.url}public/").fetch(f"{served.url}public/.{between}./s0.tif", 0, 10))
    assert served.stats().requests == 0


PREFIX_TRICKS = (
    "https://good.example.evil/x.tif", "https://good.example@127.0.0.1:{port}/s0.tif", "http://good.example/s0.tif",
    "https://good.example:443@127.0.0.1:{port}/s0.tif", "https://good.example#@127.0.0.1:{port}/s0.tif",
    "https://good.example\\@127.0.0.1:{port}/s0.tif", "https://good.example%2f@127.0.0.1:{port}/s0.tif",
    "https://good.example?@127.0.0.1:{port}/s0.tif", "//good.example/x", "https:good.example/x", "https:///good.example/x",
)  # fmt: skip


@pytest.mark.parametrize("url", PREFIX_TRICKS)
def test_what_only_looks_like_an_allowed_prefix_is_refused(
    local_refs: Path, tmp_path: Path, canary: Server, url: str
) -> None:
    url = url.format(port=canary.port)
    root = url.rpartition("/")[0] + "/"
    out = forged(local_refs, tmp_path / "x.refs", url=url, sources=(root, "https://good.example"))
    refs = rr.open(out, allow="https://good.example")
    with pytest.raises(RasteretRefsError):
        refs.to_xarray().image.values  # noqa: B018 - reading is what is tested
    found = [problem for problem in refs.audit().findings if problem.kind in {"source", "prefix"}]
    assert found
    assert canary.stats().requests == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_kind_of_redirection_is_looked_at(served: Server, canary: Server, status: int) -> None:
    """The tests' server answered 302 whatever it was asked for."""
    served.fail("redirect", path="s0.tif", location=f"{canary.url}s0.tif", status=status)
    with pytest.raises(UnauthorisedSourceError, match="redirection"):
        run(guarded(served.url).fetch(f"{served.url}s0.tif", 0, 10))
    assert [request.status for request in served.requests()] == [status]
    assert canary.stats().requests == 0


def test_messages_show_neither_queries_nor_control_characters() -> None:
    authority = Authority(("https://example.org/",))
    with pytest.raises(UnauthorisedSourceError) as caught:
        authority("https://other.example/x\x1b[2Jy.tif?sig=SECRETSIG#token=SECRETTOKEN")
    assert "SECRET" not in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url", ["http://[::1/x?sig=1", "http://[bad/x#token=1", "https://u:p@[/x", "s3://b/x?X-Amz-Security-Token=1"]
)
def test_urls_that_no_parser_takes_are_still_searched_for_secrets(url: str) -> None:
    """`urlsplit` raised `ValueError` in the audit."""
    assert secret_in_url(url)
    assert secret_in_url(redacted(url)) is None


def test_a_search_that_a_stranger_recorded_is_not_run(local_refs: Path, tmp_path: Path, canary: Server) -> None:
    """`append()` asked whatever source a set named, with its SQL filters and its storage hints."""
    out = forged(local_refs, tmp_path / "x.refs", **STRANGE)
    seal = (out / "refs.json").read_bytes()
    with pytest.raises(UnauthorisedSourceError, match="give it as source"):
        rr.open(out).append()
    assert (out / "refs.json").read_bytes() == seal
    assert canary.stats().requests == 0


def test_a_stranger_s_set_is_merged_under_guard_and_does_not_become_one_s_own(
    local_refs: Path, tmp_path: Path, served: Server, canary: Server
) -> None:
    """`merge` read headers through a client that follows redirections anywhere, and trusted the result."""
    rr.build([f"{served.url}raw0.tif", f"{served.url}raw1.tif"], tmp_path / "theirs.refs")
    theirs = forged(tmp_path / "theirs.refs", tmp_path / "x.refs", **STRANGE)
    mine = tmp_path / "mine.refs"
    shutil.copytree(local_refs, mine)
    with pytest.raises(UnauthorisedSourceError, match="allow="):
        rr.open(mine).merge(theirs)
    served.fail("redirect", location=f"{canary.url}s0.tif")
    with pytest.raises(UnauthorisedSourceError, match="redirection"):
        rr.open(mine).merge(rr.open(theirs, allow=served.url), reread=True)
    assert canary.stats().requests == 0
    assert len(rr.open(mine)) == len(rr.open(local_refs))
    served.mend()
    assert len(rr.open(mine).merge(rr.open(theirs, allow=served.url))) == len(rr.open(local_refs)) + 2
    assert not rr.open(mine).audit().written_here
    with pytest.raises(UnauthorisedSourceError, match="allow="):
        rr.open(mine).reader.read(IMAGE)


def change(documents: dict[str, Any], **fields: Any) -> None:
    documents[f"{IMAGE}/.zarray"] |= fields


DOCUMENTS: dict[str, Callable[[dict[str, Any]], None]] = {
    "text of 8 GB": lambda d: d["factor_1/id/.zarray"].update(dtype="<U2000000000"),
    "a chunk of 4 GiB": lambda d: change(d, shape=[3, 32768, 32768], chunks=[1, 32768, 32768], dtype="<f4"),
    "filters without end": lambda d: change(d, filters=[{"id": "rasteret_refs.fill_order", "version": 1}] * 100_000),
    "shape 1e999": lambda d: change(d, shape=[float("inf"), 192, 192]),
    "a key that leaves": lambda d: d.update({"../../x/.zgroup": {"zarr_format": 2}}),
    "an absolute key": lambda d: d.update({"/etc/.zgroup": {"zarr_format": 2}}),
    "a chunk as document": lambda d: d.update({f"{IMAGE}/0.0.0": {"x": 1}}),
    "attributes that are a text": lambda d: d.update({f"{IMAGE}/.zattrs": "x"}),
    "delta over objects": lambda d: change(
        d, filters=[{"id": "delta", "dtype": "|O", "astype": "|O"}], compressor=None
    ),
    "delta of 2 GB texts": lambda d: change(d, filters=[{"id": "delta", "dtype": "<U500000000"}], compressor=None),
    "a codec of another package": lambda d: change(d, filters=[{"id": "imagecodecs_tiff"}]),
    "a codec's module": lambda d: change(d, compressor={"id": "os:system"}),
    "an object dtype": lambda d: change(d, dtype="|O"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_hostile_metadata_is_refused_soon_and_reported(
    local_refs: Path, tmp_path: Path, scenes: Path, name: str
) -> None:
    out = forged(local_refs, tmp_path / "x.refs", documents=DOCUMENTS[name])
    began = time.process_time()
    with pytest.raises(RasteretRefsError):
        read_arrays(out, str(scenes))
    assert time.process_time() - began < 1
    reported(out)


def read_arrays(out: Path, allow: str) -> None:
    """Open a set and read its images and ids."""
    refs = rr.open(out, allow=allow)
    for path in (IMAGE, "factor_1/id"):
        refs.reader.read(path)
    assert len(refs.scenes)


SEALS: dict[str, bytes] = {
    "nested without end": b'{"format": ' + b"[" * 200_000,
    "a version beyond numbers": base_files()["refs.json"].partition(b'"versions"')[0].replace(b": 1,", b": 1e999,"),
    "sources that are no texts": b"sources",
    "a record size without end": b"record_size",
}


@pytest.mark.parametrize("name", SEALS)
def test_hostile_seals_are_refused(tmp_path: Path, name: str) -> None:
    data = SEALS[name]
    unsigned = base_files()["refs.json"].rpartition(b',\n "sha256"')[0]
    if data == b"sources":
        data = unsigned.replace(b'"sources": [', b'"sources": [1, ')
    elif data == b"record_size":
        data = unsigned.replace(b'"record_size": 10000', b'"record_size": 1000000000000000000')
        assert data != unsigned
    out = tmp_path / "x.refs"
    for file, content in with_file("refs.json", data).items():
        (out / file).parent.mkdir(parents=True, exist_ok=True)
        (out / file).write_bytes(content)
    with pytest.raises(DamagedError):
        rr.open(out)
    reported(out)


@pytest.mark.parametrize("name", ["refs.json", "scenes.parquet", f"zarr.parq/{IMAGE}/refs.0.parq"])
@pytest.mark.parametrize("what", ["pipe", "device", "directory", "loop"])
def test_files_of_a_set_that_are_no_files_end_at_once(local_refs: Path, tmp_path: Path, name: str, what: str) -> None:
    """A link to /dev/zero was read until memory ended, a pipe for ever."""
    out = tmp_path / "x.refs"
    shutil.copytree(local_refs, out)
    (out / name).unlink()
    if what == "pipe":
        os.mkfifo(out / name)
    elif what == "device":
        (out / name).symlink_to("/dev/zero")
    elif what == "directory":
        (out / name).mkdir()
    else:
        (out / name).symlink_to(out / name)
    with pytest.raises((ObjectError, DamagedError)):
        read_arrays(out, "/")
    with pytest.raises((ObjectError, DamagedError)):
        rr.open(out).verify()


def test_links_to_files_are_files(local_refs: Path, tmp_path: Path) -> None:
    """Hugging Face's cache and DVC keep sets so."""
    out = tmp_path / "x.refs"
    out.mkdir()
    for path in local_refs.rglob("*"):
        target = out / path.relative_to(local_refs)
        target.mkdir() if path.is_dir() else target.symlink_to(path)
    assert rr.open(out).verify().files
    assert rr.open(out).audit().is_clean


def test_files_that_nobody_sealed_are_reported(local_refs: Path, tmp_path: Path) -> None:
    out = tmp_path / "x.refs"
    shutil.copytree(local_refs, out)
    (out / "zarr.parq" / "sitecustomize.py").write_text("print('hello')")
    (finding,) = rr.open(out).audit().findings
    assert (finding.kind, finding.where) == ("extra", "zarr.parq/sitecustomize.py")


def test_the_audit_s_text_is_neither_markup_nor_control(local_refs: Path, tmp_path: Path) -> None:
    """rich took `[/x]` in a name for markup and ended in `MarkupError`; escapes reached the terminal."""
    evil = "https://images.example.org/[/bold][black on black]\x1b[2J\x1b[1A\u202etif.x\nresult  sound"
    out = forged(local_refs, tmp_path / "x.refs", url=evil, sources=("https://images.example.org/",))
    findings = reported(out)
    assert any("[/bold]" in finding["what"] + finding["where"] for finding in findings)
    assert "[/bold]" in CliRunner().invoke(main, ["audit", str(out)]).output


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **{"compression": "zstd", "store_schema": False, **options})
    return sink.getvalue()


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
    assert footer.columns["a"].values == 3
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


def test_footers_say_what_pyarrow_says() -> None:
    for name, data in base_files().items():
        if name.endswith(("parq", "parquet")):
            footer, metadata = read_footer(memoryview(data)), pq.read_metadata(pa.BufferReader(data))
            group = metadata.row_group(0)
            columns = [group.column(number) for number in range(group.num_columns)]
            assert footer.rows == metadata.num_rows
            assert {column.path_in_schema: column.num_values for column in columns} == {
                path: column.values for path, column in footer.columns.items()
            }
            texts = {c.path_in_schema: c.total_uncompressed_size for c in columns if "BYTE_ARRAY" in c.physical_type}
            assert texts == {path: column.stored for path, column in footer.columns.items() if column.stored}


def test_an_object_that_lost_its_etag_is_taken_for_changed(scenes: Path, tmp_path: Path, server: Server) -> None:
    """Equal size, no ETag any more: nothing was compared."""
    data = (scenes / "s0.tif").read_bytes()
    url = server.put("a.tif", data)
    rr.build([url], tmp_path / "x.refs")
    server.put("a.tif", data[:-50] + bytes(50))
    server.fail("no_etag")
    refs = rr.open(tmp_path / "x.refs")
    with pytest.raises(ChangedError, match="no ETag"):
        refs.to_xarray().image.values  # noqa: B018 - reading is what is tested
    with pytest.raises(ChangedError):
        refs.verify(sources=True)


def test_without_etags_size_and_time_decide(scenes: Path, tmp_path: Path, server: Server) -> None:
    data = (scenes / "s0.tif").read_bytes()
    url = server.put("a.tif", data)
    server.fail("no_etag", modified="Tue, 02 Jan 2024 00:00:00 GMT")
    rr.build([url], tmp_path / "x.refs")
    pixels = rr.open(tmp_path / "x.refs").to_xarray().image.values
    assert pixels.any()
    server.mend()
    server.put("a.tif", data[:-50] + bytes(50))
    server.fail("no_etag", modified="Wed, 03 Jan 2024 00:00:00 GMT")
    refs = rr.open(tmp_path / "x.refs")
    with pytest.raises(ChangedError):
        refs.to_xarray().image.values  # noqa: B018 - reading is what is tested
    with pytest.raises(ChangedError) as caught:
        refs.verify(sources=True)
    assert [problem.url for problem in caught.value.problems] == [url]


def test_weak_etags_are_compared_by_us(scenes: Path, tmp_path: Path, server: Server) -> None:
    """`If-Match` never fits a weak ETag: it is not sent, and the answer's is compared."""
    data = (scenes / "s0.tif").read_bytes()
    url = server.put("a.tif", data)
    server.fail("weak_etag")
    rr.build([url], tmp_path / "x.refs")
    refs = rr.open(tmp_path / "x.refs")
    assert refs.to_xarray().image.values.any()
    assert refs.verify(sources=True).objects == 1
    server.put("a.tif", data[:-50] + bytes(50))
    with pytest.raises(ChangedError, match="ETag W/"):
        rr.open(tmp_path / "x.refs").to_xarray().image.values  # noqa: B018 - reading is what is tested
    with pytest.raises(ChangedError):
        refs.verify(sources=True)


def test_an_older_sound_state_is_refused_under_a_pin(local_refs: Path, tmp_path: Path, scenes: Path) -> None:
    out = tmp_path / "x.refs"
    shutil.copytree(local_refs, out)
    shutil.copytree(local_refs, tmp_path / "older.refs")
    rr.open(out).append([str(scenes / "raw0.tif")])
    pin = rr.open(out).refset.sha256
    shutil.rmtree(out)
    (tmp_path / "older.refs").rename(out)
    rr.open(out).verify()
    with pytest.raises(DamagedError, match="pinned"):
        rr.open(out, sha256=pin)


def test_a_reference_of_more_bytes_than_its_file_takes_no_memory(
    local_refs: Path, tmp_path: Path, scenes: Path
) -> None:
    """`pread` of 2**62 bytes was a `MemoryError`."""
    out = forged(
        local_refs, tmp_path / "x.refs", columns=lambda c: c | {"size": [2**62 if size else 0 for size in c["size"]]}
    )
    with pytest.raises(ObjectError, match="the object has only"):
        rr.open(out, allow=str(scenes)).reader.read(IMAGE)


def test_notebooks_draw_no_nonsense_for_ever(local_refs: Path, tmp_path: Path) -> None:
    """A footprint of 1e300 degrees drew lines without end; damaged ones raised `struct.error` from the display."""
    import struct

    from rasteret_refs.refset.views_map import footprint_map

    ring = struct.pack("<10d", 0, 0, 1e300, 0, 1e300, 1e300, 0, 1e300, 0, 0)
    wkbs = [b"\x01\x03\0\0\0\x01\0\0\0\x05\0\0\0" + ring, b"\x01\x03\0\0\0\xff\xff\xff\xff", b"\x01", b"", b"\x01" * 40]
    for wkb in wkbs:
        began = time.monotonic()
        assert isinstance(footprint_map(pa.table({"id": ["a"], "geometry": pa.array([wkb], pa.binary())})), str)
        assert time.monotonic() - began < 2


def test_pickles_hold_no_more_than_what_the_caller_gave(
    served: Server, tmp_path: Path, pixels: npt.NDArray[Any]
) -> None:
    """Workers need the options for storage; tokens that were fetched with them stay behind."""
    rr.build([f"{served.url}s{number}.tif" for number in range(3)], tmp_path / "x.refs")
    refs = rr.open(tmp_path / "x.refs", storage={served.url: {"timeout": 5}})
    np.testing.assert_array_equal(refs.to_xarray().image.values, pixels)
    for what in (refs.reader, refs.refset, refs.to_xarray(chunks={})):
        text = pickle.dumps(what)
        assert not any(mark in text.lower() for mark in (b"token", b"secret", b"password", b"sig=", b"x-amz"))


def test_a_hint_for_earthdata_sends_the_token_to_nasa_s_hosts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    hint = {"https://data.earthdata.nasa.gov": "earthdata"}
    objects = Objects(hint, retries=0, authorise=Authority(("https://data.earthdata.nasa.gov/",)))
    with pytest.raises(AccessError, match="EARTHDATA_TOKEN"):
        run(objects.fetch("https://data.earthdata.nasa.gov/x.tif", 0, 10))


def test_secrets_anywhere_in_a_set_are_reported(local_refs: Path, tmp_path: Path) -> None:
    """The audit looked at the objects' URLs and the recipe; attributes and other columns may hold URLs as well."""
    from rasteret_refs.refset.geoparquet import _table_bytes

    evil = "https://images.example.org/thumbnail.png?X-Amz-Signature=SECRETSIG"
    out = forged(local_refs, tmp_path / "x.refs", documents=lambda d: d[f"{IMAGE}/.zattrs"].update(gdal={"LINK": evil}))
    (finding,) = [found for found in reported(out) if found["kind"] == "secret"]
    assert "LINK" in finding["where"]
    table = rr.open(local_refs).refset.all_scenes
    table = table.append_column("thumbnail", pa.array([{"href": evil}] * len(table)))
    other = resealed(local_refs, tmp_path / "y.refs", "scenes.parquet", bytes(_table_bytes(table)))
    (finding,) = [found for found in reported(other) if found["kind"] == "secret"]
    assert finding["where"] == "scenes.parquet: thumbnail"
    assert "SECRET" not in str(reported(other))


def resealed(base: Path, out: Path, name: str, data: bytes) -> Path:
    """Copy a set with another file in the place of one, under a seal that fits."""
    from dataclasses import replace

    from rasteret_refs.refset.seal import FileHash, Seal

    shutil.copytree(base, out)
    seal = Seal.from_bytes((out / "refs.json").read_bytes(), str(out))
    (out / name).write_bytes(data)
    (out / "refs.json").write_bytes(replace(seal, files={**seal.files, name: FileHash.of(data)}).to_bytes())
    return out


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


def test_the_plain_route_takes_prefixes_as_whole_segments(local_refs: Path, tmp_path: Path) -> None:
    import zarr

    url = "https://good.example.evil/x.tif"
    out = forged(local_refs, tmp_path / "x.refs", url=url, sources=("https://good.example", "/"))
    with pytest.raises(UnauthorisedSourceError):
        zarr.open_array(rr.plain_store(out), path=IMAGE, mode="r", zarr_format=2)[0]
