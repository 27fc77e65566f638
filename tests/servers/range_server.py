"""A range-capable HTTP server on the loopback, with delays, counts and scripted faults.

    with serve(tmp_path, delay=0.03) as server:            # a thread of this process
        open_something(server.url + "red.tif")
        assert server.stats().requests == 1
        server.fail("status", path="*.tif", status=503, retry_after=0.1, times=2)

    with serve(tmp_path, process=True) as server:          # a process of its own: benchmarks, fork
        ...

Files of the directory are served; `server.put("x.tif", data)` serves bytes from memory instead. There are no listings
(404), and a path with `//` or `..` is refused (400). `token="sig=abc"` answers 403 to requests whose query lacks it.
`If-Match` is honoured (412). It stops with the `with` block, when its parent dies, or after `lifetime` seconds. One
process answers more than 5,000 ranged requests a second. From a shell:
`python -m tests.servers.range_server DIR --delay 0.03`.
"""

import asyncio
import base64
import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tests.servers.faults import Fault
from tests.servers.http import RangeProtocol, Request, State, Stats

ROOT = Path(__file__).resolve().parents[2]


class Server(Protocol):
    """What `serve` yields, in a thread or in a process."""

    url: str
    """`http://127.0.0.1:<port>/`, with the slash."""
    port: int

    def stats(self) -> Stats:
        """Requests, bytes sent, most in flight at once, refused `//` paths, connections: since the start or `reset`."""

    def requests(self) -> list[Request]:
        """The last 100,000: method, path, query, start, stop (half-open; -1 where no range), status, bytes sent."""

    def reset(self) -> None:
        """Set all counts to zero, forget the requests and the faults."""

    def delay(self, seconds: float) -> None:
        """Wait so long before each answer from now on."""

    def put(self, path: str, data: bytes) -> str:
        """Serve these bytes at `path`; returns its URL."""

    def fail(self, kind: str, **options: Any) -> None:
        """Add a fault (fields of `faults.Fault`); the first one that fits a request is used."""

    def mend(self) -> None:
        """Remove all faults."""

    def require(self, token: str | None) -> None:
        """Answer 403 from now on unless the query contains `token`; None: to nobody."""


class _Commands:
    """The server's commands, each one message to the state that answers requests."""

    url: str

    def _call(self, name: str, *arguments: Any) -> Any:
        raise NotImplementedError

    def stats(self) -> Stats:
        return Stats(*self._call("stats"))

    def requests(self) -> list[Request]:
        return [Request(*row) for row in self._call("requests")]

    def reset(self) -> None:
        self._call("reset")

    def delay(self, seconds: float) -> None:
        self._call("set_delay", seconds)

    def put(self, path: str, data: bytes) -> str:
        self._call("put", path, base64.b64encode(data).decode())
        return self.url + path

    def fail(self, kind: str, **options: Any) -> None:
        self._call("fail", Fault(kind=kind, **options).as_json())  # type: ignore[arg-type]

    def mend(self) -> None:
        self._call("mend")

    def require(self, token: str | None) -> None:
        self._call("require", token)


class _ThreadServer(_Commands):
    """The server in a thread of this process, with an event loop of its own."""

    def __init__(self, state: State, *, port: int) -> None:
        self._state = state
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(port,), name="range-server", daemon=True)
        self._thread.start()
        if not self._started.wait(10):
            raise RuntimeError("the loopback server did not start within 10 s")

    def _run(self, port: int) -> None:
        asyncio.set_event_loop(self._loop)
        self._listener = self._loop.run_until_complete(listen(self._state, port))
        self.port = self._listener.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self._loop.call_soon(self._started.set)
        self._loop.run_forever()
        self._listener.close()
        self._state.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _call(self, name: str, *arguments: Any) -> Any:
        async def call() -> Any:
            return getattr(self._state, name)(*arguments)

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(10)

    def stop(self) -> None:
        """Stop the loop and wait for its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


class _ProcessServer(_Commands):
    """The server in a process of its own; commands are lines of JSON on its standard input."""

    def __init__(self, arguments: list[str]) -> None:
        command = [sys.executable, "-m", "tests.servers.range_server", *arguments]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"the loopback server did not start: {' '.join(command)}")
        self.port = int(self.url.rsplit(":", 1)[1].strip("/"))

    def _call(self, name: str, *arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, *arguments]) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def stop(self) -> None:
        """Close its standard input, which ends it, and wait."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # type: ignore[union-attr]
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process.stdout.close()  # type: ignore[union-attr]


async def listen(state: State, port: int) -> asyncio.Server:
    """Accept connections on the loopback; port 0 takes a free one."""
    loop = asyncio.get_running_loop()
    return await loop.create_server(lambda: RangeProtocol(state), "127.0.0.1", port, backlog=1024)


@contextlib.contextmanager
def serve(
    directory: Path | str | None = None,
    *,
    delay: float = 0.0,
    process: bool = False,
    token: str | None = None,
    lifetime: float = 3600.0,
    port: int = 0,
) -> Iterator[Server]:
    """Serve `directory` (None: only what is `put`) until the block ends.

    `delay` is seconds before each answer; many requests wait at the same time, as on a real network.
    """
    server: _ThreadServer | _ProcessServer
    if process:
        arguments = ["--delay", str(delay), "--lifetime", str(lifetime), "--port", str(port)]
        arguments += ["--token", token] if token else []
        server = _ProcessServer([*arguments, *([str(directory)] if directory else [])])
    else:
        server = _ThreadServer(State(directory, delay=delay, token=token), port=port)
    try:
        yield server
    finally:
        server.stop()


class _Options(NamedTuple):
    directory: str | None
    delay: float
    lifetime: float
    port: int
    token: str | None


def _options() -> _Options:
    import argparse

    parser = argparse.ArgumentParser(description="Serve a directory on the loopback, with ranges; ends with its input.")
    parser.add_argument("directory", nargs="?")
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--lifetime", type=float, default=3600.0)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--token")
    return _Options(**vars(parser.parse_args()))


async def _main(options: _Options) -> None:
    state = State(options.directory, delay=options.delay, token=options.token)
    server = await listen(state, options.port)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", flush=True)
    loop = asyncio.get_running_loop()
    ended = loop.create_future()

    def commands() -> None:
        async def call(name: str, arguments: list[Any]) -> Any:
            return getattr(state, name)(*arguments)

        for line in sys.stdin:
            name, *arguments = json.loads(line)
            answer = asyncio.run_coroutine_threadsafe(call(name, arguments), loop).result()
            print(json.dumps(answer), flush=True)
        loop.call_soon_threadsafe(ended.set_result, None)

    threading.Thread(target=commands, daemon=True).start()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(ended, options.lifetime)
    server.close()
    state.close()


if __name__ == "__main__":
    asyncio.run(_main(_options()))
