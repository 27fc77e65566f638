"""Attacks on requests that once came through, or nearly: credentials, prefixes, addresses, ports and redirections."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import rasteret_refs as rr
from rasteret_refs.errors import (
    AccessError,
    RasteretRefsError,
    UnauthorisedSourceError,
)
from rasteret_refs.objects.authority import Authority
from rasteret_refs.objects.blocking import run
from rasteret_refs.objects.client import Objects
from rasteret_refs.objects.stores import options_for
from rasteret_refs.refset.secrets import redacted, secret_in_url
from tests.servers.range_server import Server
from tests.trust.forge import IMAGE, forged, resolve_to_this_machine


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
    resolve_to_this_machine("good.example", monkeypatch)
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


def test_a_hint_for_earthdata_sends_the_token_to_nasa_s_hosts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    hint = {"https://data.earthdata.nasa.gov": "earthdata"}
    objects = Objects(hint, retries=0, authorise=Authority(("https://data.earthdata.nasa.gov/",)))
    with pytest.raises(AccessError, match="EARTHDATA_TOKEN"):
        run(objects.fetch("https://data.earthdata.nasa.gov/x.tif", 0, 10))


def test_the_plain_route_takes_prefixes_as_whole_segments(local_refs: Path, tmp_path: Path) -> None:
    import zarr

    url = "https://good.example.evil/x.tif"
    out = forged(local_refs, tmp_path / "x.refs", url=url, sources=("https://good.example", "/"))
    with pytest.raises(UnauthorisedSourceError):
        zarr.open_array(rr.plain_store(out), path=IMAGE, mode="r", zarr_format=2)[0]
