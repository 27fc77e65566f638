"""The loopback server itself: ranges, counts, refusals and each scripted fault, seen by another client."""

import http.client
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.range_server import Server, serve

DATA = bytes(range(256)) * 1000


@pytest.fixture(params=[False, True], ids=["thread", "process"])
def served(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Server]:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.bin").write_bytes(DATA)
    with serve(tmp_path, process=request.param) as running:
        yield running


def get(server: Server, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=2)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def test_ranges_are_answered_as_the_standard_says(served: Server) -> None:
    assert get(served, "/sub/a.bin")[::2] == (200, DATA)
    status, headers, body = get(served, "/sub/a.bin", Range="bytes=10-19")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 10-19/{len(DATA)}", DATA[10:20])
    assert get(served, "/sub/a.bin", Range="bytes=-5")[::2] == (206, DATA[-5:])
    assert get(served, "/sub/a.bin", Range=f"bytes={len(DATA) - 3}-")[::2] == (206, DATA[-3:])
    assert get(served, "/sub/a.bin", Range=f"bytes={len(DATA)}-")[0] == 416


def test_requests_and_bytes_are_counted(served: Server) -> None:
    get(served, "/sub/a.bin", Range="bytes=0-99")
    get(served, "/sub/a.bin?x=1", Range="bytes=200-204")
    assert served.stats()[:2] == (2, 105)
    assert [(r.path, r.query, r.start, r.stop, r.status) for r in served.requests()] == [
        ("sub/a.bin", "", 0, 100, 206),
        ("sub/a.bin", "x=1", 200, 205, 206),
    ]
    served.reset()
    assert served.stats()[:2] == (0, 0)


@pytest.mark.parametrize(("path", "status"), [("/", 404), ("/sub", 404), ("//sub/a.bin", 400), ("/sub//a.bin", 400)])
def test_listings_and_double_slashes_are_refused(served: Server, path: str, status: int) -> None:
    assert get(served, path)[0] == status


def test_paths_do_not_leave_the_directory(served: Server) -> None:
    assert get(served, "/sub/%2e%2e/%2e%2e/etc/passwd")[0] == 400


def test_a_delay_is_waited_for_before_the_answer(served: Server) -> None:
    served.delay(0.2)
    start = time.perf_counter()
    get(served, "/sub/a.bin", Range="bytes=0-9")
    assert time.perf_counter() - start >= 0.19


def test_bytes_can_be_put_and_replaced(served: Server) -> None:
    served.put("new.bin", b"one")
    first = get(served, "/new.bin")
    served.put("new.bin", b"two!")
    second = get(served, "/new.bin")
    assert (first[2], second[2]) == (b"one", b"two!")
    assert first[1]["ETag"] != second[1]["ETag"]
    assert get(served, "/new.bin", If_Match=first[1]["ETag"])[0] == 412
    assert get(served, "/new.bin", If_Match=second[1]["ETag"])[0] == 200


def test_a_token_may_be_required(served: Server) -> None:
    served.require("sig=1")
    assert get(served, "/sub/a.bin")[0] == 403
    assert get(served, "/sub/a.bin?sig=1")[0] == 200


def test_status_faults_carry_retry_after_and_end_after_their_times(served: Server) -> None:
    served.fail("status", path="sub/*", status=503, retry_after=1, times=2, skip=1)
    answers = [get(served, "/sub/a.bin", Range="bytes=0-1") for _ in range(4)]
    assert [answer[0] for answer in answers] == [206, 503, 503, 206]
    assert answers[1][1]["Retry-After"] == "1"


def test_each_fault_of_the_body_is_the_one_that_it_says(served: Server) -> None:
    def faulty(kind: str, **options: object) -> tuple[int, dict[str, str], bytes]:
        served.mend()
        served.fail(kind, **options)
        return get(served, "/sub/a.bin", Range="bytes=10-19")

    assert faulty("ignore_range")[::2] == (200, DATA)
    assert faulty("short_body")[::2] == (206, DATA[10:18])
    assert faulty("long_body")[::2] == (206, DATA[10:20] + b"\0\0")
    status, headers, body = faulty("wrong_content_range")
    assert (status, headers["Content-Range"], body) == (206, f"bytes 12-21/{len(DATA)}", DATA[12:22])
    assert faulty("html")[1]["Content-Type"] == "text/html"
    assert faulty("redirect", location="/elsewhere")[0] == 302
    assert len({faulty("changing_etag")[1]["ETag"] for _ in range(3)}) == 3
    with pytest.raises(http.client.IncompleteRead):
        faulty("drop")
    with pytest.raises(TimeoutError):
        faulty("stall")
