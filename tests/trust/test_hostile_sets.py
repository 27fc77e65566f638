"""Sets of strangers: whatever they name, nothing is asked for that the rule or the caller does not allow."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

import rasteret_refs as rr
from rasteret_refs.errors import DamagedError, DecodeError, RasteretRefsError, UnauthorisedSourceError
from rasteret_refs.objects.authority import Authority, as_allowed, below, is_public
from rasteret_refs.refset.hints import safe_hints, unsafe_hints
from tests.servers.range_server import Server
from tests.trust.forge import IMAGE, forged, reported, resolve_to_this_machine

HOSTS = (
    "127.0.0.1", "localhost", "LOCALHOST", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "127.1",
    "127.0.0.2", "2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "0.0.0.0", "[::]", "[64:ff9b::7f00:1]",  # noqa: S104 - an address to refuse
    "[2002:7f00:1::]", "ip6-localhost.localdomain",
)  # fmt: skip
SPECIAL = (
    "http://169.254.169.254/latest/meta-data/iam", "http://[fd00:ec2::254]/latest/", "http://10.0.0.5/s0.tif",
    "http://192.168.1.1/", "http://172.16.0.1/x", "http://100.64.0.1/x", "http://[fe80::1%25eth0]/x",
    "http://metadata.google.internal/computeMetadata/v1/", "http://printer.local/x", "http://224.0.0.1/x",
    "http://255.255.255.255/x", "http://[fec0::1]/x", "http://[3fff::1]/x", "http://192.88.99.1/x",
    "http://[64:ff9b:1::7f00:1]/x", "http://[::ffff:0:7f00:1]/x", "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/x",
)  # fmt: skip
OTHER_SCHEMES = (
    "file:///etc/passwd", "FILE:///etc/passwd", "file://localhost/etc/passwd", "/etc/passwd", "local:///etc/passwd",
    "ftp://example.org/x", "gopher://example.org/x", "reference://x", "memory://x", "zip://x::https://example.org/y",
    "simplecache::https://example.org/x", "data:text/plain;base64,eA==", "ssh://example.org/x", "../../etc/passwd",
    "s3://../x/y", "s3://bucket@127.0.0.1:9000/x", "gs://#/x",
)  # fmt: skip


def read(location: Path, **options: Any) -> Any:
    """Read all pixels as the caller does."""
    return rr.open(location, **options).to_xarray().image.values


def refused(location: Path, canary: Server, **options: Any) -> None:
    """Expect that neither route of ours asks for anything, and that the audit says why."""
    with pytest.raises((UnauthorisedSourceError, DamagedError)):
        read(location, **options)
    with pytest.raises((UnauthorisedSourceError, DamagedError)):
        rr.open(location, **options).verify(pixels=50)
    assert {finding["kind"] for finding in reported(location)} & {"source", "prefix", "damage"}
    assert canary.stats().requests == 0


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("honest", [True, False], ids=["seal names it", "seal names another"])
def test_no_spelling_of_this_machine_is_asked(
    local_refs: Path, tmp_path: Path, canary: Server, host: str, honest: bool
) -> None:
    url = f"http://{host}:{canary.port}/s0.tif"
    sources = (f"http://{host}:{canary.port}/", "/") if honest else ("https://example.org/", "/")
    refused(forged(local_refs, tmp_path / "x.refs", url=url, sources=sources), canary)


@pytest.mark.parametrize("url", [*SPECIAL, *OTHER_SCHEMES])
def test_special_addresses_and_other_schemes_are_refused(
    local_refs: Path, tmp_path: Path, canary: Server, url: str
) -> None:
    root = url.rpartition("/")[0] + "/"
    out = forged(local_refs, tmp_path / "x.refs", url=url, sources=(root, url, "/", "file:///"))
    refused(out, canary)


def test_names_that_resolve_to_this_machine_are_refused(
    local_refs: Path, tmp_path: Path, canary: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolve_to_this_machine("images.example.org", monkeypatch)
    root = f"http://images.example.org:{canary.port}/"
    out = forged(local_refs, tmp_path / "x.refs", url=f"{root}s0.tif", sources=(root,), columns=_only_first)
    refused(out, canary)
    with pytest.raises(DecodeError):  # the caller may allow the name; what lies there is no tile
        read(out, allow=root, check_sources=False)
    assert canary.stats().requests


def _only_first(columns: dict[str, Any]) -> dict[str, Any]:
    """Let all chunks lie in the first object."""
    return columns | {"path": [columns["path"][0] if path else path for path in columns["path"]]}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirections_to_what_is_not_allowed_are_not_followed(
    local_refs: Path, tmp_path: Path, served: Server, canary: Server, status: int
) -> None:
    served.fail("redirect", path="s0.tif", location=f"{canary.url}s0.tif", status=status)
    out = forged(local_refs, tmp_path / "x.refs", url=f"{served.url}s0.tif", sources=(served.url,), columns=_only_first)
    with pytest.raises(UnauthorisedSourceError, match="redirection"):
        read(out, allow=served.url, check_sources=False)
    assert served.stats().requests >= 1
    assert canary.stats().requests == 0


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://169.254.169.254/x", "ftp://example.org/x"])
def test_redirections_to_files_and_special_addresses_are_not_followed(
    local_refs: Path, tmp_path: Path, served: Server, target: str
) -> None:
    served.fail("redirect", path="s0.tif", location=target)
    out = forged(local_refs, tmp_path / "x.refs", url=f"{served.url}s0.tif", sources=(served.url,), columns=_only_first)
    with pytest.raises(UnauthorisedSourceError, match="redirection"):
        read(out, allow=served.url, check_sources=False)


@pytest.mark.parametrize(
    "path",
    ["public/../s0.tif", "public/%2e%2e/s0.tif", "public/%252e%252e/s0.tif", "public\\..\\s0.tif", "public/./s0.tif"],
)
def test_a_prefix_cannot_be_left_by_dots(local_refs: Path, tmp_path: Path, served: Server, path: str) -> None:
    out = forged(local_refs, tmp_path / "x.refs", url=f"{served.url}{path}", sources=(served.url,), columns=_only_first)
    refused(out, served, allow=f"{served.url}public/")


@pytest.mark.parametrize("url", ["http://127.0.0.1:{port}@example.org/x", "http://example.org@127.0.0.1:{port}/s0.tif"])
def test_user_information_hides_no_host(local_refs: Path, tmp_path: Path, canary: Server, url: str) -> None:
    url = url.format(port=canary.port)
    out = forged(local_refs, tmp_path / "x.refs", url=url, sources=("http://example.org", url.rpartition("/")[0] + "/"))
    with pytest.raises(RasteretRefsError):
        read(out)
    assert canary.stats().requests == 0


def test_a_set_from_elsewhere_reads_no_local_files_before_they_are_allowed(
    local_refs: Path, scenes: Path, tmp_path: Path, canary: Server, pixels: Any
) -> None:
    out = forged(local_refs, tmp_path / "downloaded.refs", storage={"s3://x/": {"region": "us-west-2"}})
    refused(out, canary)
    with pytest.raises(UnauthorisedSourceError, match="allow="):
        xr.open_dataset(out, engine="rasteret_refs").image.values  # noqa: B018 - reading is what is tested
    np.testing.assert_array_equal(np.sort(read(out, allow=str(scenes)), axis=0), np.sort(pixels, axis=0))
    np.testing.assert_array_equal(read(out, allow=f"file://{scenes}"), read(local_refs))


def test_a_set_written_here_reads_its_files_without_ceremony(local_refs: Path, tmp_path: Path) -> None:
    import shutil

    moved = tmp_path / "moved.refs"
    shutil.copytree(local_refs, moved)
    np.testing.assert_array_equal(read(moved), read(local_refs))


def test_trust_is_not_laundered_by_annotating_saving_or_merging(
    local_refs: Path, tmp_path: Path, canary: Server, scenes: Path
) -> None:
    out = forged(local_refs, tmp_path / "x.refs", storage={"s3://x/": {"region": "us-west-2"}})
    strange = rr.open(out)
    ids = strange.scenes["id"].to_pylist()
    strange.annotate({"id": ids, "label": list(range(len(ids)))}, on="id")
    refused(out, canary)
    mine = tmp_path / "mine.refs"
    rr.build([str(scenes / "raw0.tif")], mine)
    before = (mine / "refs.json").read_bytes()
    with pytest.raises(UnauthorisedSourceError):
        rr.open(mine).merge(rr.open(out))
    assert (mine / "refs.json").read_bytes() == before


HOSTILE_HINTS = {
    "s3://bucket/": {"endpoint": "http://127.0.0.1:9000", "region": "us-west-2", "request_payer": True},
    "s3://other/": {"region": "evil.example/#", "client_options": {"proxy_url": "http://127.0.0.1"}},
    "https://example.org/": "earthdata",
    "https://data.example.org/": {"planetary-computer": True, "sas_url": "http://127.0.0.1/"},
    "az://container/": {"account_name": "evil.example/", "anonymous": True},
    "https://data.earthdata.nasa.gov/": "earthdata",
}


def test_hints_of_strangers_neither_redirect_nor_pay_nor_hand_out_credentials() -> None:
    assert safe_hints(HOSTILE_HINTS) == {
        "s3://bucket/": {"region": "us-west-2"},
        "az://container/": {"anonymous": True},
        "https://data.earthdata.nasa.gov/": "earthdata",
    }
    assert len(unsafe_hints(HOSTILE_HINTS)) == 8


@pytest.mark.parametrize("codec", ["pickle", "json2", "msgpack2", "vlen-utf8", "blosc", "os.system", None, 7])
@pytest.mark.parametrize("where", ["compressor", "filters"])
def test_codecs_are_known_ids_and_nothing_is_imported_by_name(
    local_refs: Path, tmp_path: Path, codec: Any, where: str
) -> None:
    config = {"id": codec}

    def change(documents: dict[str, Any]) -> None:
        documents[f"{IMAGE}/.zarray"] |= {where: [config] if where == "filters" else config}

    out = forged(local_refs, tmp_path / "x.refs", documents=change)
    with pytest.raises(DamagedError, match="codecs that sets are written with"):
        rr.open(out).reader.read(IMAGE)
    with pytest.raises(Exception, match="codecs that sets are written with"):
        zarr.open_array(rr.plain_store(out), path=IMAGE, mode="r", zarr_format=2)[0]


@pytest.mark.parametrize("dtype", ["|O", "|V8", [["a", "<u2"]], "O", None])
def test_objects_and_records_are_refused_as_dtypes(local_refs: Path, tmp_path: Path, dtype: Any) -> None:
    out = forged(local_refs, tmp_path / "x.refs", documents=lambda d: d[f"{IMAGE}/.zarray"].update(dtype=dtype))
    with pytest.raises(DamagedError):
        rr.open(out).reader.read(IMAGE)


@pytest.mark.parametrize("field", ["shape", "chunks"])
@pytest.mark.parametrize(
    "value",
    [[2**62, 1, 1], [2**40, 192, 192], [-1, 64, 64], [3, 192], ["a", 1, 1], None, [1e308, 1, 1]],
)
def test_shapes_without_end_are_refused_when_the_set_is_opened(
    local_refs: Path, tmp_path: Path, field: str, value: Any
) -> None:
    out = forged(local_refs, tmp_path / "x.refs", documents=lambda d: d[f"{IMAGE}/.zarray"].update({field: value}))
    with pytest.raises(RasteretRefsError):
        rr.open(out).reader.read(IMAGE)


def test_a_tile_of_ten_thousand_to_one_is_refused_unseen(local_refs: Path, tmp_path: Path, scenes: Path) -> None:
    side = 16384

    def large(documents: dict[str, Any]) -> None:
        documents[f"{IMAGE}/.zarray"] |= {"shape": [3, side, side], "chunks": [1, side, side], "filters": None}

    out = forged(local_refs, tmp_path / "x.refs", documents=large)
    with pytest.raises(DecodeError, match="encoded bytes or more"):
        rr.open(out, allow=str(scenes)).reader.read(IMAGE)
    assert any(finding.kind == "size" for finding in rr.open(out).audit().findings)


@pytest.mark.parametrize("name", ["../../outside", "/etc/passwd", "a/../../b", "a\\b", ".", ""])
def test_a_seal_names_no_file_outside_its_set(local_refs: Path, tmp_path: Path, name: str) -> None:
    import hashlib
    import shutil

    out = tmp_path / "x.refs"
    shutil.copytree(local_refs, out)
    text = (out / "refs.json").read_text()
    body = text.rpartition(',\n "sha256"')[0].replace('"scenes.parquet"', f'"{name}"'.replace("\\", "\\\\")) + "\n}\n"
    signed = body.removesuffix("\n}\n") + f',\n "sha256": "{hashlib.sha256(body.encode()).hexdigest()}"\n}}\n'
    (out / "refs.json").write_text(signed)
    with pytest.raises(DamagedError, match="leaves the reference set"):
        rr.open(out)


def test_the_audit_names_everything_and_asks_for_nothing(local_refs: Path, tmp_path: Path, canary: Server) -> None:
    url = f"{canary.url}s0.tif?sig=abc"
    out = forged(
        local_refs, tmp_path / "x.refs", url=url, sources=("http://169.254.169.254/",), storage=HOSTILE_HINTS,
        documents=lambda d: d[f"{IMAGE}/.zarray"].update(compressor={"id": "pickle"}),
        columns=lambda c: c | {"offset": [*c["offset"][:-1], 10**12]},
    )  # fmt: skip
    found = rr.open(out).audit()
    assert {finding.kind for finding in found.findings} >= {"source", "prefix", "secret", "codec", "outside", "hint"}
    assert f"127.0.0.1:{canary.port}" in found.hosts
    assert found.schemes["http"] == 1
    assert found.codecs["pickle"] == 1
    assert not found.written_here
    assert "abc" not in str(found.as_json()["findings"])
    assert canary.stats().requests == 0


def test_the_audit_of_a_sound_set_of_ones_own_has_no_findings(local_refs: Path) -> None:
    found = rr.open(local_refs).audit()
    assert found.is_clean, found.findings
    assert found.written_here
    assert found.references == 3 * 9


def test_authorities_travel_to_other_processes(local_refs: Path, tmp_path: Path) -> None:
    import pickle

    out = forged(local_refs, tmp_path / "x.refs", storage={"s3://x/": {"region": "us-west-2"}})
    reader = pickle.loads(pickle.dumps(rr.open(out).reader))  # noqa: S301 - our own bytes
    with pytest.raises(UnauthorisedSourceError):
        reader.read(IMAGE)


@pytest.mark.parametrize("entry", ["", "https://", "relative/dir", "file://", "http:"])
def test_what_the_caller_allows_must_be_a_prefix(entry: str) -> None:
    with pytest.raises(UnauthorisedSourceError, match="allow"):
        as_allowed([entry])


def test_prefixes_are_whole_segments() -> None:
    assert below("https://example.org/a/b", "https://example.org/a")
    assert below("HTTPS://Example.org/a/b", "https://example.org/a/")
    assert not below("https://example.org.evil/a", "https://example.org")
    assert not below("https://example.org/ab", "https://example.org/a")
    assert not below("https://example.org/x", "")
    assert below("file:///data/x.tif", "/data")


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


def test_public_hosts_need_no_consent() -> None:
    authority = Authority(("https://example.org/", "s3://bucket/"))
    authority("https://example.org/a/b.tif")
    authority("s3://bucket/key/x.tif")
    assert authority.redirection_problem("https://example.org/a", "https://example.org/b") is None
    assert authority.redirection_problem("https://example.org/a", "https://other.org/b") is not None
    assert authority.redirection_problem("http://example.org/a", "https://example.org/a") is None
    assert authority.redirection_problem("https://huggingface.co/a", "https://cdn-lfs.hf.co/b") is None
    assert authority.redirection_problem("https://huggingface.co/a", "https://evil.org/b") is not None
