"""The concurrency limit of a host."""

import asyncio
import concurrent.futures
import sys

import pytest

from rasteret_refs.objects import client, limits
from rasteret_refs.objects.client import Objects
from rasteret_refs.objects.limits import Limiter
from tests.transports import TRANSPORTS, chosen


@pytest.fixture(params=TRANSPORTS)
def transport(request):
    yield from chosen(request.param)


async def hold(limiter, running, most):
    await limiter.acquire()
    running.append(1)
    most.append(len(running))
    await asyncio.sleep(0.001)
    running.pop()
    limiter.release()


def test_no_more_than_the_limit_run_at_once_and_all_get_their_turn():
    async def go():
        limiter, running, most = Limiter(5), [], []
        await asyncio.gather(*[hold(limiter, running, most) for _ in range(50)])
        return most

    most = asyncio.run(go())
    assert max(most) == 5
    assert len(most) == 50


def test_refusals_halve_the_limit_once_a_burst_and_success_restores_it(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(limits.time, "monotonic", lambda: now[0])
    limiter = Limiter(64)
    for _ in range(10):
        limiter.refused()
    assert limiter.limit == 32
    now[0] += 1
    limiter.refused()
    assert limiter.limit == 16
    for _ in range(20):
        now[0] += 1
        limiter.refused()
    assert limiter.limit == 2
    for _ in range(3000):
        limiter.succeeded()
    assert limiter.limit == 64


def test_who_gives_up_waiting_leaves_no_place_taken():
    async def go():
        limiter = Limiter(1)
        await limiter.acquire()
        waiting = [asyncio.ensure_future(limiter.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        limiter.release()
        waiting[1].cancel()  # its place was handed over just now
        await asyncio.gather(*waiting, return_exceptions=True)
        limiter.release()
        await asyncio.wait_for(limiter.acquire(), 1)

    asyncio.run(go())


@pytest.mark.usefixtures("transport")
def test_one_client_serves_many_threads(server, tmp_path):
    (tmp_path / "a.bin").write_bytes(b"x" * 1000)
    objects = Objects(concurrency=4)

    def read(start):
        async def go():
            answers = await asyncio.gather(*[objects.fetch(f"{server.url}a.bin", start, start + 10) for _ in range(20)])
            return [bytes(answer.data) for answer in answers]

        return asyncio.run(go())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for found in pool.map(read, range(16)):
            assert found == [b"x" * 10] * 20


@pytest.mark.usefixtures("transport")
def test_throttling_lowers_what_is_in_flight(server, monkeypatch, tmp_path):
    monkeypatch.setattr("rasteret_refs.objects.client._BACKOFF", 0.01)
    (tmp_path / "a.bin").write_bytes(b"x" * 1000)
    server.delay(0.01)
    server.fail("status", status=429, times=5)

    async def go():
        objects = Objects(concurrency=32)
        await asyncio.gather(*[objects.fetch(f"{server.url}a.bin", 0, 10) for _ in range(100)])
        (limiters,) = objects._limiters.values()
        return next(iter(limiters.values())).limit

    assert asyncio.run(go()) < 32


def test_no_more_connections_than_half_of_the_files_that_may_be_open(monkeypatch):
    monkeypatch.setattr(limits, "open_connections", lambda: 3)
    monkeypatch.setattr(client, "open_connections", limits.open_connections)

    async def go():
        return Objects(concurrency=512)._limiter("host").limit

    assert asyncio.run(go()) == 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_the_limit_of_open_files_is_the_process_s_own():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 300), hard))
    try:
        assert limits.open_connections() == min(soft, 300) // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
