"""HTTP through libcurl: certificates, redirections, names, proxies, forks, and what is left open."""

import asyncio
import gc
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
import weakref
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from rasteret_refs.errors import ResponseError, UnavailableError
from rasteret_refs.objects import room as room_module
from rasteret_refs.objects import ways
from rasteret_refs.objects.client import Objects
from rasteret_refs.objects.room import Room
from tests.servers.range_server import serve

pytest.importorskip("pycurl", reason="the extra `fast` is not installed")
DATA = bytes(i * 7 % 251 for i in range(100_000))


@pytest.fixture
def server():
    with serve() as running:
        running.put("a.tif", DATA)
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate of 127.0.0.1, with its key, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path, "-out", f"{path}.crt",
               "-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    path.write_bytes(path.read_bytes() + path.with_name("both.pem.crt").read_bytes())
    return path


@contextmanager
def serve_tls(certificate):
    """Serve DATA over https; `/away` leads to http, from which nothing may come."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            """Keep quiet."""

        def do_GET(self):
            if self.path == "/away":
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.1:1/a.tif")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            asked = self.headers.get("Range")
            first, last = (int(part) for part in asked[6:].split("-")) if asked else (0, len(DATA) - 1)
            self.send_response(206 if asked else 200)
            if asked:
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(DATA)}")
            self.send_header("ETag", f'"{self.client_address[1]}"')  # tells connections apart
            self.send_header("Content-Length", str(last + 1 - first))
            self.end_headers()
            self.wfile.write(DATA[first : last + 1])

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request, client_address):
            """Keep quiet about clients that do not trust it."""

    running = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    running.socket = context.wrap_socket(running.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{running.server_address[1]}/"
    finally:
        running.shutdown()
        running.server_close()
        thread.join()


def in_process(code, *arguments, **environment):
    """Run code in a fresh process, whose options are not cached, and give what it prints as JSON."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-W", "ignore:This process:DeprecationWarning", "-c", code, *arguments],
        check=False, timeout=60, capture_output=True, text=True, env={**os.environ, **environment},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "Warning" not in ended.stderr
    return json.loads(ended.stdout)


READ_TLS = """
import asyncio, hashlib, json, sys, time
from rasteret_refs.errors import ObjectError
from rasteret_refs.objects.client import Objects
async def go():
    objects, found, began = Objects(), [], time.monotonic()
    try:
        found.append(bytes((await objects.fetch(sys.argv[1], 10, 20)).data).hex())
        found.append(hashlib.sha256(await objects.read(sys.argv[1])).hexdigest())
    except ObjectError as error:
        found.append([type(error).__name__, str(error), error.attempts, time.monotonic() - began])
    return found, objects._ways.curl is not None
print(json.dumps(asyncio.run(go())))
"""


def test_objects_are_read_over_https_from_whom_the_environment_trusts(certificate):
    import hashlib

    with serve_tls(certificate) as url:
        found, through_curl = in_process(READ_TLS, f"{url}a.tif", SSL_CERT_FILE=f"{certificate}.crt")
    assert found == [DATA[10:20].hex(), hashlib.sha256(DATA).hexdigest()]
    assert through_curl


def test_a_certificate_that_does_not_verify_is_refused_at_once(certificate):
    with serve_tls(certificate) as url:
        ((name, text, attempts, seconds),), _ = in_process(READ_TLS, f"{url}a.tif", SSL_CERT_FILE="")
    assert (name, attempts) == ("UnavailableError", 1)
    assert "a certificate that cannot be verified" in text
    assert seconds < 5


def test_no_redirection_leads_from_https_to_http(certificate):
    with serve_tls(certificate) as url:
        ((name, text, attempts, _),), _ = in_process(READ_TLS, f"{url}away", SSL_CERT_FILE=f"{certificate}.crt")
    assert (name, attempts) == ("ResponseError", 1)
    assert "from https to http" in text


FORK = """
import asyncio, json, os, sys
from rasteret_refs.objects.client import Objects
async def several(objects):
    answers = await asyncio.gather(*[objects.fetch(sys.argv[1], n, n + 10) for n in range(4)])
    return sorted(answer.etag for answer in answers)
async def go():
    objects = Objects()
    ports = [await several(objects)]
    for ending in ("_exit", "exit"):
        child = os.fork()
        if not child:
            del objects
            os._exit(0) if ending == "_exit" else sys.exit(0)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            await asyncio.sleep(0.01)
        ports.append(await several(objects))
    return ports
print(json.dumps(asyncio.run(go())))
"""


def test_a_forked_child_leaves_its_parent_s_connections_alone(certificate):
    with serve_tls(certificate) as url:
        first, *later = in_process(FORK, f"{url}a.tif", SSL_CERT_FILE=f"{certificate}.crt")
    for ports in later:
        assert set(ports) <= set(first)  # the same connections


def test_redirections_are_followed_and_loops_refused(server):
    server.put("b.tif", DATA)
    server.fail("redirect", path="a.tif", status=302, location="/b.tif")
    answer = asyncio.run(Objects().fetch(f"{server.url}a.tif", 5, 50))
    assert bytes(answer.data) == DATA[5:50]
    server.fail("redirect", path="b.tif", status=302, location="/a.tif")
    with pytest.raises(ResponseError, match="more than 10 redirections"):
        asyncio.run(Objects().fetch(f"{server.url}a.tif", 5, 50))


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/a.tif", "file:///etc/hostname"])
def test_redirections_out_of_http_are_refused(server, target):
    server.fail("redirect", status=302, location=target)
    with pytest.raises(ResponseError, match="a redirection to what is no HTTP"):
        asyncio.run(Objects().fetch(f"{server.url}a.tif", 5, 50))


def answer_with(raw):
    """Serve these bytes as the answer to anything; give the URL and what closes it."""
    listening = socket.create_server(("127.0.0.1", 0))

    def run():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(raw)

    threading.Thread(target=run, daemon=True).start()
    return f"http://127.0.0.1:{listening.getsockname()[1]}/a.tif", listening


RANGE = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-3/9\r\nContent-Length: 4\r\n"


@pytest.mark.parametrize(
    ("raw", "outcome"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + RANGE + b"\r\nabcd", b"abcd"),
        (RANGE + b"Content-Range: bytes 0-3/9\r\n\r\nabcd", b"abcd"),
        (RANGE + b"X: " + b"y" * 400_000 + b"\r\n\r\nabcd", UnavailableError),
        (b"nonsense\r\n\r\n", UnavailableError),
        (b"HTTP/1.1 banana\r\n\r\n", UnavailableError),
    ],
)
def test_odd_answers_are_read_or_refused_by_an_error_of_ours(raw, outcome):
    url, listening = answer_with(raw)
    with listening:
        objects = Objects(retries=0)
        if isinstance(outcome, bytes):
            assert bytes(asyncio.run(objects.fetch(url, 0, 4)).data) == outcome
            return
        with pytest.raises(outcome):
            asyncio.run(objects.fetch(url, 0, 4))


def test_a_senseless_size_takes_no_memory_for_a_range_without_an_end():
    span = b"Content-Range: bytes 5-999999999999999998/999999999999999999\r\n"
    head = b"HTTP/1.1 206 Partial Content\r\n" + span + b"Content-Length: 4\r\n\r\nabcd"
    url, listening = answer_with(head)
    with listening, pytest.raises(ResponseError, match="a body of 4 bytes"):
        asyncio.run(Objects(retries=0).fetch(url, 5))


def test_hosts_behind_a_proxy_are_not_asked_by_libcurl(server, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    objects = Objects(retries=0)
    objects.connect(server.url + "a.tif")
    assert objects._ways.curl is None
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert asyncio.run(Objects(retries=0).fetch(server.url + "a.tif", 0, 9)).size == len(DATA)


def test_a_name_is_looked_up_once_for_many_requests(server):
    async def go():
        loop, asked = asyncio.get_running_loop(), []
        look_up = loop.getaddrinfo

        async def counted(host, *arguments, **options):
            asked.append(host)
            return await look_up(host, *arguments, **options)

        loop.getaddrinfo = counted
        objects = Objects()
        url = server.url.replace("127.0.0.1", "localhost") + "a.tif"
        await asyncio.gather(*[objects.fetch(url, n, n + 10) for n in range(30)])
        return asked

    assert asyncio.run(go()) == ["localhost"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors where Linux lists them")  # noqa: PTH112
def test_loops_that_end_leave_no_descriptors_open(server):
    objects = Objects()
    counts = []
    for _ in range(50):
        asyncio.run(objects.fetch(server.url + "a.tif", 0, 10))
        counts.append(len(os.listdir("/proc/self/fd")))  # noqa: PTH208
    assert max(counts[10:]) - counts[5] <= 5  # the server's own, of connections that it has yet to close


def test_a_cancelled_request_leaves_the_client_usable(server):
    async def go():
        objects = Objects()
        server.fail("stall", times=1)
        task = asyncio.ensure_future(objects.fetch(server.url + "a.tif", 0, 50_000))
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        return bytes((await objects.fetch(server.url + "a.tif", 0, 50_000)).data)

    assert asyncio.run(go()) == DATA[:50_000]


def test_an_unknown_name_is_told_soon():
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="the host's name cannot be resolved after 3 attempts"):
        asyncio.run(Objects().fetch("http://no-such-host.invalid/a.tif", 0, 9))
    assert time.monotonic() - began < 5


def test_bodies_never_share_memory_and_small_ones_hold_no_slab():
    room = Room()
    sizes = [1, 100, 32 * 1024, 40_001, 700_000, 2 * 1024 * 1024, 3_000_000, 9_000_000] * 5
    taken = [room.take(size) for size in sizes]
    for number, piece in enumerate(taken):
        piece[:] = bytes([number]) * len(piece)
    assert [len(piece) for piece in taken] == sizes
    assert all(bytes(piece) == bytes([number]) * len(piece) for number, piece in enumerate(taken))
    assert isinstance(room.take(100).obj, bytearray)
    assert ways._curl_http() is not None


def test_room_is_used_again_but_never_while_somebody_holds_a_part_of_it():
    room, size, marked = Room(), 3_000_000, {}
    places = set()
    for number in range(60):
        piece = room.take(size)
        piece[:] = bytes([number]) * size
        array = np.frombuffer(piece, np.uint8)
        places.add(array.ctypes.data)
        if number % 7 == 0:  # kept as decoders keep them: a view of a view, whatever became of the piece itself
            marked[number] = array[10:20][::2]
    assert len(places) < 40  # memory came back
    assert all((view == number).all() for number, view in marked.items())
    del piece, array
    marked.clear()
    again = [room.take(size) for _ in range(6)]
    assert {np.frombuffer(piece, np.uint8).ctypes.data for piece in again} <= places


def test_room_is_made_ready_for_what_is_on_its_way_and_no_more(monkeypatch):
    made = []
    monkeypatch.setattr(room_module, "huge", lambda nbytes: made.append(np.zeros(nbytes, np.uint8)) or made[-1])
    room = Room()
    assert len(list(room.preparing(3_000_000))) == 2  # pages
    assert len(made) == 1
    assert room.take(3_000_000).nbytes == 3_000_000
    assert np.shares_memory(np.frombuffer(room.take(1_000_000), np.uint8), made[0])
    assert not list(room.preparing(2_000_000))  # there is as much left in the slab
    assert len(made) == 1
    assert len(list(room.preparing(500_000_000))) == 16
    assert len(made) == 5


def test_room_that_is_being_made_ready_is_nobodys_yet():
    """Touching memory that a body lies in would change its pixels."""
    room = Room()
    pages = room.preparing(8_000_000)
    next(pages)
    body = room.take(3_000_000)
    body[:] = b"\7" * 3_000_000
    assert len(list(pages)) == 3
    assert bytes(body) == b"\7" * 3_000_000


def test_room_is_made_ready_before_the_answers_come(monkeypatch):
    prepared = []
    monkeypatch.setattr(Room, "preparing", lambda _, nbytes: iter(prepared.append(nbytes) or [None] * 3))
    with serve(delay=0.5) as slow:
        slow.put("a.tif", bytes(1_000_000))

        async def go():
            objects = Objects()
            sizes = [1_000_000, 600_000, 1_000]  # the last one is too small for a slab
            asked = [asyncio.ensure_future(objects.fetch(slow.url + "a.tif", 0, size)) for size in sizes]
            await asyncio.sleep(0.25)
            assert prepared == [1_600_000]
            assert not any(one.done() for one in asked)
            await asyncio.gather(*asked)
            await objects.fetch(slow.url + "a.tif", 0, 700_000)
            assert prepared == [1_600_000, 700_000]

        asyncio.run(go())


def test_room_is_made_ready_after_the_last_of_requests_that_begin_one_after_the_other(monkeypatch):
    prepared = []
    monkeypatch.setattr(Room, "preparing", lambda _, nbytes: iter(prepared.append(nbytes) or []))
    monkeypatch.setattr("rasteret_refs.objects.curl._SENT_SECONDS", 0.1)
    with serve(delay=0.6) as slow:
        slow.put("a.tif", bytes(1_000_000))

        async def go():
            objects, asked = Objects(), []
            for _ in range(6):
                asked.append(asyncio.ensure_future(objects.fetch(slow.url + "a.tif", 0, 300_000)))
                await asyncio.sleep(0.03)
            await asyncio.gather(*asked)
            assert prepared == [1_800_000]

        asyncio.run(go())


def test_a_body_goes_with_its_last_reader_and_waits_for_no_garbage_collector(server):
    size = 5_000_000  # its memory is its own
    server.put("large.tif", bytes(size))

    async def go():
        objects = Objects()
        answer = await objects.fetch(server.url + "large.tif", 0, size)
        body = weakref.ref(answer.data.obj)
        assert len(answer.data) == size
        assert body() is not None
        del answer
        return body()

    gc.disable()
    try:
        assert asyncio.run(go()) is None
    finally:
        gc.enable()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_answers_that_are_finished_are_handed_on_before_all_others_are_read(monkeypatch, loop):
    new_loop = pytest.importorskip(loop, reason="the extra `fast` is not installed").new_event_loop
    from rasteret_refs.objects import curl

    pairs, happened, all_read = [socket.socketpair() for _ in range(6)], [], asyncio.Event()
    number_of = {ours.fileno(): number for number, (ours, _) in enumerate(pairs)}

    def act(engine, descriptor, events):
        time.sleep(0.005)  # a large body, longer than a round
        number = number_of[descriptor]
        pairs[number][0].recv(1)
        happened.append(("read", number))
        if sum(what == "read" for what, _ in happened) == len(pairs):
            all_read.set()
        asyncio.get_running_loop().call_soon(happened.append, ("handed on", number))

    async def go():
        loop = asyncio.get_running_loop()
        engine = curl._Engine(loop)
        monkeypatch.setattr(curl._Engine, "_act", act)
        for ours, theirs in pairs:
            engine._watch(curl.pycurl.POLL_IN, ours.fileno(), None, None)
            theirs.send(b"x")
        await all_read.wait()
        await asyncio.sleep(0)
        engine.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(asyncio.wait_for(go(), 10))
    for ours, theirs in pairs:
        ours.close()
        theirs.close()
    assert [what for what, _ in happened] == ["read", "handed on"] * 6
    assert sorted(number for what, number in happened if what == "read") == list(range(6))
