"""The byte-bounded cache: each value loaded once, errors not kept, bounds held, usable after a fork."""

import multiprocessing
import threading
import time
import warnings

import pytest

from rasteret_refs.refset.memory import ByteCache


def test_a_value_is_loaded_once_however_many_threads_ask() -> None:
    cache: ByteCache[bytes] = ByteCache(100, len)
    loads = []

    def load() -> bytes:
        loads.append(1)
        time.sleep(0.05)
        return b"value"

    threads = [threading.Thread(target=cache.get, args=("key", load)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_the_least_recently_used_values_go_first() -> None:
    cache: ByteCache[bytes] = ByteCache(10, len)
    cache.get("a", lambda: b"aaaa")
    cache.get("b", lambda: b"bbbb")
    cache.get("a", lambda: b"never")
    cache.get("c", lambda: b"cccc")
    assert cache.peek("b") is None
    assert cache.peek("a") == b"aaaa"
    assert cache.bytes_held == 8
    cache.clear()
    assert cache.bytes_held == 0


def test_a_value_above_the_limit_is_given_but_not_kept() -> None:
    cache: ByteCache[bytes] = ByteCache(3, len)
    assert cache.get("a", lambda: b"aaaa") == b"aaaa"
    assert cache.bytes_held == 0


def test_an_error_is_not_kept() -> None:
    cache: ByteCache[bytes] = ByteCache(10, len)

    def fail() -> bytes:
        raise KeyError

    with pytest.raises(KeyError):
        cache.get("a", fail)
    assert cache.get("a", lambda: b"fine") == b"fine"


def _in_child(cache: ByteCache[bytes], pipe: object) -> None:
    pipe.send((cache.bytes_held, cache.get("a", lambda: b"child")))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
def test_a_forked_child_is_not_blocked_by_a_lock_of_its_parent() -> None:
    cache: ByteCache[bytes] = ByteCache(10, len)
    cache.get("a", lambda: b"parent")
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    cache._lock.acquire()
    child = context.Process(target=_in_child, args=(cache, sender))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    cache._lock.release()
    assert receiver.poll(30)
    assert receiver.recv()[1] == b"child"
    child.join(30)
