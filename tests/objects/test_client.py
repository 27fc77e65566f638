"""The storage client against a loopback server that misbehaves in every way we know of."""

import asyncio
import multiprocessing
import os
import pickle
import subprocess
import sys
import time

import pytest

from rasteret_refs.errors import (
    AccessError,
    ChangedError,
    NotFoundError,
    ObjectError,
    ResponseError,
    SourceError,
    UnauthorisedSourceError,
    UnavailableError,
)
from rasteret_refs.objects import client
from rasteret_refs.objects.client import Objects
from rasteret_refs.tiff.values import ByteRange
from tests.servers.range_server import serve
from tests.transports import TRANSPORTS, chosen

DATA = bytes(i * 7 % 251 for i in range(100_000))


@pytest.fixture(autouse=True, params=TRANSPORTS)
def transport(request):
    yield from chosen(request.param)


@pytest.fixture
def server():
    with serve() as running:
        running.put("a.tif", DATA)
        yield running


def fetch(objects, url, start=0, stop=1000, **options):
    return asyncio.run(objects.fetch(url, start, stop, **options))


def url_of(server, name="a.tif"):
    return server.url.rstrip("/") + "/" + name


def test_a_fetch_is_one_request_and_brings_size_etag_and_date(server):
    objects = Objects()
    answer = fetch(objects, url_of(server), 10, 2000)
    assert bytes(answer.data) == DATA[10:2000]
    assert answer.size == len(DATA)
    assert answer.etag is not None
    assert answer.last_modified == "2024-01-01T00:00:00Z"
    assert server.stats().requests == 1
    assert (objects.traffic.requests, objects.traffic.bytes) == (1, 1990)


def test_a_range_behind_the_end_is_cut_there(server):
    assert bytes(fetch(Objects(), url_of(server), 99_000, 200_000).data) == DATA[99_000:]


def test_a_whole_object_can_be_read(server):
    assert asyncio.run(Objects().read(url_of(server))) == DATA


def test_an_empty_object_is_empty_everywhere(server, tmp_path):
    server.put("empty.tif", b"")
    (tmp_path / "empty.tif").write_bytes(b"")
    for url in (url_of(server, "empty.tif"), str(tmp_path / "empty.tif")):
        answer = fetch(Objects(), url)
        assert (len(answer.data), answer.size) == (0, 0)


def test_a_local_file_gives_the_same_as_a_url(tmp_path):
    path = tmp_path / "a b%20#?é.tif"
    path.write_bytes(DATA)
    for url in (str(path), path.as_uri()):
        answer = fetch(Objects(), url, 5, 50)
        assert bytes(answer.data) == DATA[5:50]
        assert answer.size == len(DATA)


def test_names_with_blanks_plus_signs_and_percent_escapes_are_found(server):
    for name, written in [
        ("a b.tif", "a%20b.tif"),
        ("a+b.tif", "a+b.tif"),
        ("a+b.tif", "a%2Bb.tif"),
        ("é.tif", "é.tif"),
    ]:
        server.put(name, DATA)
        assert bytes(fetch(Objects(), url_of(server, written), 0, 9).data) == DATA[:9]


def test_a_query_string_reaches_the_server(server):
    fetch(Objects(), url_of(server, "a.tif?version=1%2F2"))
    assert server.requests()[-1].query == "version=1%2F2"


@pytest.mark.parametrize(
    ("status", "error"),
    [(404, NotFoundError), (410, NotFoundError), (403, AccessError), (401, AccessError), (400, ResponseError)],
)
def test_final_refusals_are_told_apart_and_not_repeated(server, status, error):
    server.fail("status", status=status)
    with pytest.raises(error, match=f"a.tif: expected bytes .0, 1000., got status {status}"):
        fetch(Objects(), url_of(server))
    assert server.stats().requests == 1


def test_a_missing_object_is_not_found(server, tmp_path):
    for url in (url_of(server, "missing.tif"), str(tmp_path / "missing.tif")):
        with pytest.raises(NotFoundError, match=r"missing\.tif"):
            fetch(Objects(), url)


def test_a_directory_is_named_as_one(tmp_path):
    with pytest.raises(NotFoundError, match="got a directory"):
        fetch(Objects(), str(tmp_path))


def test_an_unreadable_file_is_an_access_error(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = tmp_path / "secret.tif"
    path.write_bytes(DATA)
    path.chmod(0)
    with pytest.raises(AccessError):
        fetch(Objects(), str(path))


def test_a_server_that_ignores_ranges_is_refused_without_reading_the_object(server):
    server.put("big.tif", bytes(20_000_000))
    server.fail("ignore_range")
    with pytest.raises(ResponseError, match=r"the whole object .*ignores ranges"):
        fetch(Objects(), url_of(server, "big.tif"))


def test_a_web_page_instead_of_an_object_is_called_one(server):
    server.fail("html")
    with pytest.raises(ResponseError, match="web page"):
        fetch(Objects(), url_of(server))


@pytest.mark.parametrize("kind", ["short_body", "long_body", "wrong_content_range"])
def test_an_answer_that_contradicts_the_request_is_refused(server, kind):
    server.fail(kind)
    with pytest.raises(ResponseError, match="expected bytes"):
        fetch(Objects(), url_of(server))


@pytest.mark.parametrize("kind", ["short_body", "long_body", "wrong_content_range", "drop"])
def test_a_passing_fault_is_mended_by_a_second_request(server, kind):
    server.fail(kind, times=1)
    assert bytes(fetch(Objects(), url_of(server), 3, 5000).data) == DATA[3:5000]
    assert server.stats().requests == 2


def test_a_stalled_answer_times_out_and_is_unavailable(server):
    server.fail("stall")
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="no answer in time after 2 attempts"):
        fetch(Objects({"http://": {"timeout": 0.3}}, retries=1), url_of(server))
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("http://127.0.0.1:1/a.tif", "the connection was refused"),
        ("http://no-such-host.invalid/a.tif", "the host's name cannot be resolved"),
    ],
)
def test_where_no_server_is_the_message_comes_soon(url, cause):
    began = time.monotonic()
    with pytest.raises(UnavailableError, match=f"{cause} after 3 attempts"):
        fetch(Objects(), url)
    assert time.monotonic() - began < 5


def test_a_host_that_has_answered_is_waited_for_as_long_as_after_any_fault(tmp_path):
    (tmp_path / "a.tif").write_bytes(DATA)
    objects = Objects(retries=4)
    with serve(tmp_path) as server:
        fetch(objects, f"{server.url}a.tif", 0, 10)
    with pytest.raises(UnavailableError, match="after 5 attempts"):
        fetch(objects, f"{server.url}a.tif", 0, 10)


def test_refusals_for_the_moment_are_repeated_until_they_end(server):
    server.fail("status", status=503, times=2)
    assert len(fetch(Objects(), url_of(server)).data) == 1000
    assert server.stats().requests == 3


def test_a_lasting_503_is_unavailable_and_says_how_often_it_was_tried(server):
    server.fail("status", status=503)
    with pytest.raises(UnavailableError, match=r"status 503 .* after 3 attempts"):
        fetch(Objects(retries=2), url_of(server))
    assert server.stats().requests == 3


def test_who_is_refused_while_others_are_answered_is_asked_for_longer(server, monkeypatch):
    monkeypatch.setattr(client, "_BACKOFF_IN_STORMS", 0.05)
    server.put("b.tif", DATA)
    server.fail("status", path="a.tif", status=503, times=4)

    async def both(objects):
        refused = asyncio.ensure_future(objects.fetch(url_of(server), 0, 1000))
        while not refused.done():
            await objects.fetch(url_of(server, "b.tif"), 0, 1000)
            await asyncio.sleep(0.02)
        return await refused

    assert bytes(asyncio.run(both(Objects(retries=2))).data) == DATA[:1000]
    server.fail("status", path="a.tif", status=503)
    with pytest.raises(UnavailableError, match=r"after 5 attempts"):
        asyncio.run(both(Objects(retries=2)))


def test_retry_after_is_obeyed(server):
    server.fail("status", status=429, retry_after=1.0, times=2)
    began = time.monotonic()
    fetch(Objects(), url_of(server))
    assert 1.0 <= time.monotonic() - began < 5
    assert server.stats().requests == 3


def test_a_closed_port_is_unavailable():
    with pytest.raises(UnavailableError, match="connection was refused"):
        fetch(Objects(retries=0), "http://127.0.0.1:9/a.tif")


def test_a_changed_object_is_noticed_by_etag_and_by_size(server, tmp_path):
    first = fetch(Objects(), url_of(server))
    server.put("a.tif", DATA + b"more")
    with pytest.raises(ChangedError):
        fetch(Objects(), url_of(server), etag=first.etag)
    with pytest.raises(ChangedError, match="100004 bytes instead of 100000"):
        fetch(Objects(), url_of(server), size=first.size)
    path = tmp_path / "a.tif"
    path.write_bytes(DATA)
    local = fetch(Objects(), str(path))
    path.write_bytes(DATA[::-1] + b"1")
    with pytest.raises(ChangedError):
        fetch(Objects(), str(path), etag=local.etag)


def test_an_unauthorised_url_is_refused_before_any_request(server):
    def refuse(url):
        raise UnauthorisedSourceError(f"{url}: not allowed")

    with pytest.raises(UnauthorisedSourceError):
        fetch(Objects(authorise=refuse), url_of(server))
    assert server.stats().requests == 0


@pytest.mark.parametrize("url", ["ftp://host/a.tif", "http:///a.tif", "https://user:secret@host/a.tif", "s3:///key"])
def test_urls_that_cannot_be_served_are_refused_without_repeating_secrets(url):
    with pytest.raises(SourceError) as refusal:
        fetch(Objects(), url)
    assert "secret" not in str(refusal.value)


def test_ranges_come_in_the_order_asked_for_and_neighbours_share_a_request(server):
    objects = Objects()
    wanted = [ByteRange(start=5000, stop=5100), ByteRange(start=0, stop=10), ByteRange(start=90_000, stop=90_001),
              ByteRange(start=7, stop=7)]  # fmt: skip
    found = asyncio.run(objects.ranges(url_of(server), wanted, gap=8000))
    assert [bytes(f) for f in found] == [DATA[r.start : r.stop] for r in wanted]
    assert objects.traffic.requests == 2


def test_a_range_outside_the_object_is_an_error_not_fewer_bytes(server):
    with pytest.raises(ResponseError, match="has only 100000"):
        asyncio.run(Objects().ranges(url_of(server), [ByteRange(start=99_999, stop=100_002)]))


def test_at_most_so_many_requests_are_in_flight():
    with serve(delay=0.02) as server:
        server.put("a.tif", DATA)

        async def many():
            objects = Objects(concurrency=7)
            await asyncio.gather(*[objects.fetch(url_of(server), 0, 10) for _ in range(60)])

        asyncio.run(many())
        assert server.stats().most_in_flight <= 7


def test_one_client_serves_several_event_loops_and_survives_pickling(server):
    objects = Objects(concurrency=3)
    for one in (objects, objects, pickle.loads(pickle.dumps(objects))):  # noqa: S301 - our own
        assert bytes(fetch(one, url_of(server), 0, 4).data) == DATA[:4]


def _child(transport, objects, url, queue):
    """Read in a child: `transport` comes first, for what is unpickled after it."""
    data = bytes(fetch(objects, url, 0, 4).data)
    queue.put((transport.name, objects._ways.curl is not None, data))


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_can_fetch_after_its_parent_did(server, transport, method):
    objects = Objects()
    fetch(objects, url_of(server))
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    child = context.Process(target=_child, args=(transport, objects, url_of(server), queue))
    child.start()
    child.join(30)
    alive = child.is_alive()
    if alive:
        child.kill()
    assert not alive
    assert child.exitcode == 0
    assert queue.get() == (transport.name, transport.name == "libcurl", DATA[:4])


def test_objects_are_written_listed_and_found_again(tmp_path):
    async def go():
        objects = Objects()
        await objects.put(str(tmp_path / "x" / "y.bin"), b"12345")
        assert await objects.exists(str(tmp_path / "x" / "y.bin"))
        assert not await objects.exists(str(tmp_path / "x" / "z.bin"))
        return await objects.list(str(tmp_path / "x"))

    assert asyncio.run(go()) == [("y.bin", 5)]


def test_all_errors_are_of_one_tree_and_name_the_url(server):
    for kind in ("html", "short_body", "ignore_range"):
        server.mend()
        server.fail(kind)
        with pytest.raises(ObjectError, match=url_of(server)):
            fetch(Objects(), url_of(server))


def test_a_process_that_ends_right_after_a_request_ends_well(server_process, transport, tmp_path):
    (tmp_path / "a.bin").write_bytes(DATA)
    code = (
        "import asyncio, sys; from rasteret_refs.objects import client, ways;"
        "ways._curl_http = ways._curl_http if sys.argv[2] == 'libcurl' else lambda: None;"
        "asyncio.run(client.Objects().fetch(sys.argv[1], 0, 10))"
    )
    command = [sys.executable, "-c", code, f"{server_process.url}a.bin", transport.name]
    assert [subprocess.run(command, check=False, timeout=60).returncode for _ in range(12)] == [0] * 12
