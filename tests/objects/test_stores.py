"""Storage options by prefix, against a loopback server that plays S3, Azure, a token endpoint and NASA's archive."""

import asyncio
import json
import re
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from rasteret_refs.errors import AccessError, SourceError
from rasteret_refs.objects.client import Objects
from rasteret_refs.objects.stores import check_storage, options_for

DATA = bytes(range(256)) * 40
BLOB = "https://account.blob.core.windows.net/container/x/a.tif"


class Cloud:
    """Answers any object with DATA; remembers requests; hands out tokens and may demand the newest."""

    def __init__(self):
        self.seen = []
        self.tokens = 0
        self.lifetime = 3600.0
        self.valid_from = 0
        cloud = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def do_GET(self):
                path, _, query = self.path.partition("?")
                cloud.seen.append((path, query, dict(self.headers)))
                if path.startswith("/token/"):
                    cloud.tokens += 1
                    expiry = datetime.now(UTC) + timedelta(seconds=cloud.lifetime)
                    self.reply(200, json.dumps({"msft:expiry": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
                                                "token": f"sv=2024&sig=secret{cloud.tokens}"}).encode())  # fmt: skip
                    return
                signature = re.search(r"secret(\d+)", query)
                if cloud.tokens and (signature is None or int(signature[1]) < cloud.valid_from):
                    self.reply(403, b"signature expired")
                    return
                start, stop = map(int, re.findall(r"\d+", self.headers["Range"]))
                stop = min(stop + 1, len(DATA))
                self.reply(206, DATA[start:stop], {"Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}"})

            def reply(self, status, body, headers=()):
                self.send_response(status)
                for name, value in {
                    "Content-Length": str(len(body)),
                    "ETag": '"1"',
                    "Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT",
                    **dict(headers),
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def cloud():
    running = Cloud()
    thread = threading.Thread(target=running.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield running
    running.server.shutdown()
    running.server.server_close()
    thread.join()


def fetch(objects, url, stop=100):
    return bytes(asyncio.run(objects.fetch(url, 0, stop)).data)


def test_the_longest_prefix_wins():
    storage = {"s3://": {"a": 1}, "s3://bucket/": {"b": 2}, "s3://bucket/deep/": "anonymous"}
    assert options_for("s3://other/x", storage) == ("s3://", {"a": 1})
    assert options_for("s3://bucket/x", storage) == ("s3://bucket/", {"b": 2})
    assert options_for("s3://bucket/deep/x", storage) == ("s3://bucket/deep/", {"anonymous": True})
    assert options_for("gs://x", storage) == ("", {})


@pytest.mark.parametrize("options", ["nonsense", 5, ["anonymous"]])
def test_options_of_another_form_are_refused(options):
    with pytest.raises(SourceError, match="s3://bucket/"):
        options_for("s3://bucket/x", {"s3://bucket/": options})


def test_an_option_that_the_store_does_not_know_is_named():
    with pytest.raises(SourceError, match="flavour"):
        fetch(Objects({"s3://bucket/": {"flavour": "sweet"}}), "s3://bucket/x")


def test_s3_without_signature_reads_from_an_endpoint(cloud):
    objects = Objects({"s3://bucket/": {"endpoint": cloud.url, "anonymous": True, "region": "us-west-2"}})
    assert fetch(objects, "s3://bucket/x/a b.tif") == DATA[:100]
    path, _, headers = cloud.seen[0]
    assert path == "/bucket/x/a%20b.tif"
    assert "Authorization" not in headers


def test_requester_pays_says_so_and_signs(cloud):
    options = {"endpoint": cloud.url, "request_payer": True, "region": "us-west-2", "access_key_id": "AKIAEXAMPLE",
               "secret_access_key": "hidden"}  # fmt: skip
    assert fetch(Objects({"s3://bucket/": options}), "s3://bucket/a.tif") == DATA[:100]
    headers = {name.lower(): value for name, value in cloud.seen[0][2].items()}
    assert headers["x-amz-request-payer"] == "requester"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256")


def test_a_google_project_to_be_billed_stands_in_its_header(cloud):
    options = {"user_project": "mine", "base_url": cloud.url, "anonymous": True, "client_options": {"allow_http": True}}
    assert fetch(Objects({"gs://bucket/": options}), "gs://bucket/a.tif") == DATA[:100]
    headers = {name.lower(): value for name, value in cloud.seen[0][2].items()}
    assert headers["x-goog-user-project"] == "mine"


@pytest.mark.parametrize(
    ("storage", "message"),
    [
        ({"request_payer": True}, "prefixes such as s3://bucket/, .* got 'request_payer'"),
        ({"s3://bucket/": {"requst_payer": True}}, r"s3://bucket/: .* 'request_payer'.* got \['requst_payer'\]"),
        ({"gs://": {"region": "x"}}, r"gs://: .* got \['region'\]"),
        ({"https://host.example/": {"anonymus": True}}, r"got \['anonymus'\]"),
        ({"/data/": {"region": "x"}}, r"/data/: .* got \['region'\]"),
        ({"s3://bucket/": "anonymus"}, "got 'anonymus'"),
        ({"ftp://host/": {}}, "got ftp://"),
    ],
)
def test_options_that_nothing_would_use_are_refused(storage, message):
    with pytest.raises(SourceError, match=f"s.toml.*{message}|{message}"):
        check_storage(storage, "s.toml")


def test_options_of_all_kinds_of_storage_are_taken():
    check_storage(
        {
            "s3://": {
                "request_payer": True,
                "region": "us-west-2",
                "endpoint_url": "http://127.0.0.1",
                "aws_region": "x",
            },
            "s3://bucket/deep/": "anonymous",
            "gs://bucket/": {"user_project": "mine", "service_account": "x.json"},
            "az://container/": {"account_name": "a", "account_key": "MTIz"},
            "https://account.blob.core.windows.net/": {"planetary-computer": True, "subscription_key": "k"},
            "https://data.lpdaac.earthdatacloud.nasa.gov/": {"earthdata": True, "token": "t"},
            "https://": {"timeout": 5, "client_options": {"default_headers": {"x": "y"}}},
            "/data/": {},
            "hf://datasets/owner/name/": {"timeout": 5},
        },
        "s.toml",
    )


def planetary(cloud):
    return Objects(
        {
            "https://account.blob.core.windows.net/": {
                "planetary-computer": True,
                "sas_url": f"{cloud.url}/token",
                "endpoint": f"{cloud.url}/account",
            }
        },
        retries=1,
    )


def test_planetary_computer_urls_are_signed_when_they_are_read_with_one_token_a_container(cloud):
    objects = planetary(cloud)
    for _ in range(3):
        assert fetch(objects, BLOB) == DATA[:100]
    assert cloud.tokens == 1
    path, query, _ = cloud.seen[-1]
    assert path.endswith("/container/x/a.tif")
    assert "sig=secret1" in query


def test_a_token_is_renewed_before_it_expires(cloud):
    cloud.lifetime = 30.0
    objects = planetary(cloud)
    for _ in range(2):
        assert fetch(objects, BLOB) == DATA[:100]
        time.sleep(0.2)  # obstore asks for a token at most each 100 ms
    assert cloud.tokens == 2


def test_a_refused_token_is_renewed_once_and_the_read_goes_on(cloud):
    objects = planetary(cloud)
    assert fetch(objects, BLOB) == DATA[:100]
    cloud.valid_from = 2
    assert fetch(objects, BLOB) == DATA[:100]
    assert cloud.tokens == 2


def test_a_signature_never_shows_in_an_answer_or_an_error(cloud):
    objects = planetary(cloud)
    assert asyncio.run(objects.fetch(BLOB, 0, 10)).url == BLOB
    cloud.valid_from = 1000
    with pytest.raises(AccessError) as refusal:
        fetch(objects, BLOB)
    assert "secret" not in str(refusal.value)
    assert BLOB in str(refusal.value)


def test_earthdata_sends_a_bearer_token(cloud):
    objects = Objects({cloud.url: {"earthdata": True, "token": "abc"}})
    assert fetch(objects, f"{cloud.url}/granule.tif") == DATA[:100]
    assert cloud.seen[0][2]["authorization"] == "Bearer abc"


def test_earthdata_without_a_token_says_where_to_get_one(cloud, monkeypatch):
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    with pytest.raises(AccessError, match="EARTHDATA_TOKEN"):
        fetch(Objects({cloud.url: "earthdata"}), f"{cloud.url}/granule.tif")
