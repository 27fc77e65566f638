"""Handing tiles over to the decoding threads: who is told what, in which order, and how soon."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from rasteret_refs.errors import DecodeError
from rasteret_refs.read import tiles, workers
from rasteret_refs.read.handover import _LONGEST, Handover, all_done

SMALL = 1000


def job(name, nbytes=SMALL, awaited=()):
    return SimpleNamespace(name=name, array=SimpleNamespace(chunk_bytes=nbytes), awaited=awaited)


def test_what_one_tile_lacks_reaches_who_asked_for_it_and_nobody_else():
    def decode(part):
        if part[0][0].name == 3:
            raise DecodeError("tile 3")

    async def go():
        handover = Handover(decode)
        handover.under_way = 1
        work = [handover.decode([job(n)], [b""]) for n in range(6)]
        return await asyncio.gather(*work, return_exceptions=True)

    found = asyncio.run(go())
    assert [str(error) for error in found if error is not None] == ["tile 3"]
    assert isinstance(found[3], DecodeError)


def test_each_tile_is_decoded_once_with_its_own_bytes():
    seen = []

    async def go():
        handover = Handover(seen.extend)
        handover.under_way = 1
        await asyncio.gather(*[handover.decode([job(n), job(-n)], [n, -n]) for n in range(50)])

    asyncio.run(go())
    assert sorted((job.name, data) for job, data in seen) == sorted((name, name) for n in range(50) for name in (n, -n))


def test_large_tiles_are_handed_over_at_once_each_by_itself():
    parts = []

    async def go():
        handover = Handover(parts.append)
        handover.under_way = 1
        await handover.decode([job(n, tiles.DECODED_AT_ONCE) for n in range(3)], [b""] * 3)
        return handover._timer

    assert asyncio.run(go()) is None
    assert sorted(job.name for part in parts for job, _ in part) == [0, 1, 2]
    assert [len(part) for part in parts] == [1, 1, 1]


@pytest.fixture
def one_thread(monkeypatch):
    """One decoding thread, which takes nothing until it is let go."""
    go = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        monkeypatch.setattr(workers, "decoders", lambda: pool)
        pool.submit(go.wait, 20)
        yield go


@pytest.mark.parametrize("nbytes", [SMALL, tiles.DECODED_AT_ONCE])
def test_tiles_that_work_waits_for_come_first(one_thread, nbytes):
    order = []

    async def go():
        handover = Handover(lambda part: order.extend(job.name for job, _ in part))
        handover.under_way = 1
        tiles = [("a", ()), ("b", ()), ("c", ("warp",)), ("d", ()), ("e", ("warp",))]
        work = [asyncio.ensure_future(handover.decode([job(name, nbytes, of)], [b""])) for name, of in tiles]
        await asyncio.sleep(0)
        one_thread.set()
        await asyncio.gather(*work)

    asyncio.run(go())
    assert order == ["c", "e", "a", "b", "d"]


def test_large_tiles_that_are_given_up_are_not_decoded(one_thread):
    seen = []

    async def go():
        handover = Handover(lambda part: seen.extend(job.name for job, _ in part))
        work = [asyncio.ensure_future(handover.decode([job(n, tiles.DECODED_AT_ONCE)], [b""])) for n in range(4)]
        await asyncio.sleep(0)
        work[2].cancel()
        await asyncio.sleep(0)
        one_thread.set()
        return [type(found) for found in await asyncio.gather(*work, return_exceptions=True)]

    assert asyncio.run(go()) == [type(None), type(None), asyncio.CancelledError, type(None)]
    assert seen == [0, 1, 3]


def test_large_tiles_fail_with_the_threads_when_the_interpreter_goes(monkeypatch):
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    monkeypatch.setattr(workers, "decoders", lambda: pool)

    async def run():
        handover = Handover(lambda part: None)
        await asyncio.wait_for(handover.decode([job(0, tiles.DECODED_AT_ONCE)], [b""]), 20)

    with pytest.raises(RuntimeError, match="shutdown"):
        asyncio.run(run())


def test_the_last_answer_hands_over_all_that_waits():
    async def go():
        handover = Handover(lambda part: None)
        handover.under_way = 1
        first = asyncio.ensure_future(handover.decode([job(0)], [b""]))
        await asyncio.sleep(0)
        assert not first.done()
        handover.under_way = 0
        await handover.decode([job(1)], [b""])
        await asyncio.wait_for(first, 5)
        return handover._waiting

    assert asyncio.run(go()) == []


def test_a_stream_of_answers_keeps_no_tile_waiting_for_long():
    async def go():
        handover = Handover(lambda part: None)
        handover.under_way = 1
        began = time.monotonic()
        first = asyncio.ensure_future(handover.decode([job(0)], [b""]))
        others = []
        while not first.done() and time.monotonic() - began < 20 * _LONGEST:
            others.append(asyncio.ensure_future(handover.decode([job(1)], [b""])))
            await asyncio.sleep(0)
        ended = first.done()
        await asyncio.gather(first, *others)
        return ended

    assert asyncio.run(go())


def test_who_gives_up_does_not_keep_the_others_from_their_tiles():
    seen = []

    async def go():
        handover = Handover(seen.extend)
        handover.under_way = 1
        work = [asyncio.ensure_future(handover.decode([job(n)], [n])) for n in range(4)]
        await asyncio.sleep(0)
        work[1].cancel()
        await asyncio.gather(*work, return_exceptions=True)
        return [future.cancelled() for future in work]

    assert asyncio.run(go()) == [False, True, False, False]
    assert {0, 2, 3} <= {job.name for job, _ in seen}


def test_the_first_failure_ends_the_others_and_is_raised():
    async def fail():
        raise DecodeError("first")

    async def go():
        lasting = asyncio.ensure_future(asyncio.sleep(60))
        with pytest.raises(DecodeError, match="first"):
            await all_done([asyncio.ensure_future(fail()), lasting])
        return lasting.cancelled()

    assert asyncio.run(go())
