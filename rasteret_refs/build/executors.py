"""Where headers are read besides the event loop: threads, other processes, Dask, or whatever pool a caller has."""

import contextlib
import importlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Final

from rasteret_refs.errors import BuildError
from rasteret_refs.extras import needed

EXPECTED: Final = "threads, processes, dask or dask:ADDRESS"
_DASK_PATIENCE: Final = 10.0
"""Seconds that a scheduler may take to answer."""


@contextlib.contextmanager
def opened_executor(executor: Any) -> Iterator[Executor | None]:
    """Give the executor that a name, a pool or a Dask client stands for; only what was opened here is closed again.

    Parameters
    ----------
    executor
        None: none, headers are read by the event loop of this process. `"threads"` or `"processes"`: as many as there
        are processors. `"dask"`: the current Dask client, or a cluster of this machine; `"dask:tcp://host:8786"`: that
        scheduler's. Else a `concurrent.futures.Executor`, or a `distributed.Client`.

    Raises
    ------
    BuildError
        It is nothing of these, or Dask is missing or does not answer.
    """
    if executor is None or isinstance(executor, Executor):
        yield executor
    elif executor == "threads":
        with ThreadPoolExecutor(_processors(), thread_name_prefix="rasteret-refs") as pool:
            yield pool
    elif executor == "processes":
        with _processes() as pool:
            yield pool
    elif isinstance(executor, str) and executor.partition(":")[0] == "dask":
        with _dask_client(executor.partition(":")[2]) as client:
            yield _executor_of(client)
    else:
        yield _executor_of(executor)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _processes() -> Iterator[Executor]:
    """Fresh processes, which inherit neither threads nor connections; they end at once where the build is stopped."""
    context = multiprocessing.get_context("spawn")
    started = context.SimpleQueue()
    pool = ProcessPoolExecutor(_processors(), mp_context=context, initializer=_begin, initargs=(started,))
    try:
        yield pool
    except BaseException:
        while not started.empty():  # the pool takes down the others with one that ended
            with contextlib.suppress(ProcessLookupError):
                os.kill(started.get(), signal.SIGTERM)
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        started.close()


def _begin(started: Any) -> None:
    """Begin a worker: Ctrl-C is the parent's to act on, which ends its workers itself; killed, it cannot."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    started.put(os.getpid())
    threading.Thread(target=_end_with_parent, name="rasteret-refs-parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


@contextlib.contextmanager
def _dask_client(address: str) -> Iterator[Any]:
    """Give a client of the scheduler at `address`; without one the current client, or a cluster for the while."""
    with needed("the executor dask"):
        distributed: Any = importlib.import_module("distributed")
    if not address:
        with contextlib.suppress(ValueError):  # there is none
            yield distributed.default_client()
            return
    try:
        client = (
            distributed.Client(address, timeout=_DASK_PATIENCE, set_as_default=False)
            if address
            else distributed.Client(threads_per_worker=1, dashboard_address=None, set_as_default=False)
        )
    except (OSError, TimeoutError, ValueError) as error:
        raise BuildError(f"executor dask:{address}: expected a scheduler that answers, got: {error}") from error
    with client:
        yield client


def _executor_of(client: Any) -> Executor:
    """Return the `concurrent.futures` side of a Dask client: its tasks are not pure, for objects change."""
    try:
        executor: Executor = client.get_executor(pure=False)
    except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
        raise BuildError(
            f"executor: expected {EXPECTED}, a concurrent.futures.Executor or a (synchronous) Dask client, "
            f"got {client!r}"
        ) from error
    return executor
