"""A loopback web server that waits before each answer: nginx with its Lua module (Debian: libnginx-mod-http-lua)."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODULES = Path("/usr/share/nginx/modules")

CONFIGURATION = """
{user}
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
daemon off;
worker_processes 1;
error_log {directory}/error.log;
pid {directory}/nginx.pid;
events {{ worker_connections 4096; }}
http {{
    log_format counted "$request_method $status $body_bytes_sent $uri $http_range";
    access_log {directory}/access.log counted;
    client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
    uwsgi_temp_path {directory}; scgi_temp_path {directory};
    sendfile on; tcp_nodelay on; keepalive_requests 100000; keepalive_timeout 60s;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {root};
        location / {{ access_by_lua_block {{ if {delay} > 0 then ngx.sleep({delay}) end }} }}
    }}
}}
"""


class Nginx:
    """A running server."""

    def __init__(self, port: int, directory: Path) -> None:
        self.url = f"http://127.0.0.1:{port}/"
        self._log = directory / "access.log"

    def forget(self) -> None:
        """Set the counts to zero."""
        self._log.write_text("")

    def counts(self) -> tuple[int, int]:
        """Give requests and body bytes since `forget`."""
        time.sleep(0.05)  # nginx writes a line when the answer is out
        rows = [line.split(" ") for line in self._log.read_text().splitlines()]
        return len(rows), sum(int(row[2]) for row in rows)


def available() -> bool:
    """Tell whether nginx and its Lua module are installed."""
    return shutil.which("nginx") is not None and (MODULES / "ngx_http_lua_module.so").exists()


@contextmanager
def serve(root: Path, delay: float) -> Iterator[Nginx]:
    """Serve a directory; each answer waits `delay` seconds."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="nginx-") as name:
        directory = Path(name)
        directory.chmod(0o777)
        user = (
            "user root;" if os.geteuid() == 0 else ""
        )  # else workers give up root's rights, and may not read the COGs
        configuration = directory / "nginx.conf"
        configuration.write_text(
            CONFIGURATION.format(user=user, modules=MODULES, directory=directory, port=port, root=root, delay=delay)
        )
        process = subprocess.Popen(["nginx", "-e", str(directory / "error.log"), "-c", str(configuration)])
        try:
            _wait(port)
            yield Nginx(port, directory)
        finally:
            process.terminate()
            process.wait(timeout=10)


def _wait(port: int) -> None:
    for _ in range(200):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError("nginx did not start")
