"""Faulty servers: no wrong pixels, no wrong references, each kind told apart, and storms weathered politely."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import rasteret_refs as rr
from rasteret_refs.build import run as build_run
from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import (
    AccessError,
    BuildError,
    ChangedError,
    NotATiffError,
    NotFoundError,
    RasteretRefsError,
    ResponseError,
    UnavailableError,
)
from rasteret_refs.objects.client import Objects
from tests.servers.range_server import Server, serve
from tests.transports import TRANSPORTS, Transport, chosen
from tests.trust.conftest import SCENES

KINDS: tuple[tuple[str, dict[str, Any]], ...] = (
    *(("status", {"status": status}) for status in (400, 401, 403, 404, 408, 410, 412, 416, 429, 500, 502, 503, 504)),
    ("status", {"status": 429, "retry_after": 0.01}),
    ("status", {"status": 503, "retry_after": 0.01}),
    ("ignore_range", {}),
    ("short_body", {"missing": 1}),
    ("short_body", {"missing": 500}),
    ("long_body", {"missing": 1}),
    ("long_body", {"missing": 5000}),
    ("wrong_content_range", {"missing": 2}),
    ("wrong_content_range", {"missing": 4096}),
    ("drop", {}),
    ("html", {}),
    ("changing_etag", {}),
)
FAULTS = int(os.environ.get("RASTERET_REFS_FAULTS", "400"))
"""Faulty responses of the small campaign; `make faults` asks for 5,000."""
SHARES = {"libcurl": 1, "obstore": 8}
"""The way by which most users read meets them all, the other one a part."""


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    yield from chosen(request.param)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a hundredth as long between attempts: what is tested is what comes out."""
    monkeypatch.setattr("rasteret_refs.objects.client._BACKOFF", 0.002)
    monkeypatch.setattr("rasteret_refs.objects.client._LONGEST_BACKOFF", 0.02)


@pytest.fixture(autouse=True)
def _guessing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask for beginnings of these small tiles as of large ones."""
    monkeypatch.setattr("rasteret_refs.read.beginnings.WORTH_OF_BATCH", 1)
    monkeypatch.setattr("rasteret_refs.read.beginnings.WORTH_OF_TILE", 1)


def test_faulty_answers_to_reads_give_right_pixels_or_errors_of_ours(
    served: Server, tmp_path: Path, pixels: npt.NDArray[Any], transport: Transport
) -> None:
    _read_campaign(served, tmp_path, pixels, FAULTS // SHARES[transport.name])


def _read_campaign(served: Server, tmp_path: Path, pixels: npt.NDArray[Any], wanted: int) -> None:
    """Read windows while each request may meet a fault, compressed and not, until so many were met."""
    source = random.Random(0)  # noqa: S311 - to be repeated
    sets = []
    for kind in ("s", "raw"):
        out = tmp_path / f"{kind}.refs"
        rr.build([f"{served.url}{kind}{number}.tif" for number in range(SCENES)], out)
        sets.append(rr.open(out))
    met, outcomes = 0, Counter[str]()
    while met < wanted:
        kind, options = source.choice(KINDS)
        times = source.choice((1, 1, 2, 3, 50))
        served.reset()
        served.fail(kind, times=times, skip=(skip := source.randrange(2)), **options)
        refs = source.choice(sets)
        scene, row, column = source.randrange(SCENES), source.randrange(190), source.randrange(190)
        height, width = source.randrange(1, 192 - row + 1), source.randrange(1, 192 - column + 1)
        try:
            found = refs.to_xarray().image[scene, row : row + height, column : column + width].values
        except RasteretRefsError as error:
            outcomes[type(error).__name__] += 1
        else:
            outcomes["right"] += 1
            np.testing.assert_array_equal(found, pixels[scene, row : row + height, column : column + width])
        met += _faults_met(served, kind, options, skip)
    print(f"\n{met} faulty responses to reads: {dict(outcomes)}")
    assert outcomes["right"]
    assert len(outcomes) > 3


def _faults_met(served: Server, kind: str, options: dict[str, Any], skip: int) -> int:
    """Count the requests that the fault hit: by status; of others, one where any can have been hit."""
    requests = served.requests()
    if kind == "status":
        return sum(request.status == options["status"] for request in requests)
    return int(len(requests) > skip)


def test_faulty_answers_to_builds_give_right_references_or_recorded_failures(served: Server, tmp_path: Path) -> None:
    _build_campaign(served, tmp_path, max(FAULTS // 100, len(KINDS)))


def _build_campaign(served: Server, tmp_path: Path, rounds: int) -> None:
    sound = tmp_path / "sound.refs"
    urls = [f"{served.url}{kind}{number}.tif" for kind in ("s", "raw") for number in range(SCENES)]
    rr.build(urls, sound)
    expected = references(sound)
    source = random.Random(1)  # noqa: S311 - to be repeated
    failed = Counter[str]()
    for number in range(rounds):
        kind, options = KINDS[number % len(KINDS)]
        served.reset()
        path = source.choice(("*", "s*.tif", "raw1.tif", "s2.tif"))
        served.fail(kind, path=path, times=source.choice((1, 3, 200)), skip=source.randrange(2), **options)
        out = tmp_path / f"{number}.refs"
        try:
            refs = rr.build(urls, out, on_error="skip")
        except BuildError:
            assert not out.exists()
            continue
        served.mend()
        found = references(out)
        assert found.items() <= expected.items(), (kind, options)
        rows = refs.refset.failures().to_pylist()
        assert len(rows) + len(refs.scenes) == len(urls)
        failed.update(row["error"] for row in rows)
        assert all(row["attempts"] >= 1 and row["url"] in row["message"] for row in rows)
    print(f"\n{rounds} builds under faults: failures {dict(failed)}")
    assert len(failed) >= 4


def references(location: Path) -> dict[tuple[str, int], tuple[int, str]]:
    """Each (object, offset) with its length and array's codecs, whatever the set's own order."""
    refs = rr.open(location)
    found = {}
    for path, files in refs.refset.seal.records.items():
        for number in range(len(files)):
            for row in refs.refset.records(path, number).to_pylist():
                if row["raw"] is None:
                    codec = str(refs.refset.metadata[f"{path}/.zarray"]["compressor"])
                    found[row["path"], row["offset"]] = row["size"], codec
    return found


TOLD_APART: tuple[tuple[str, dict[str, Any], type[RasteretRefsError]], ...] = (
    ("status", {"status": 404}, NotFoundError),
    ("status", {"status": 410}, NotFoundError),
    ("status", {"status": 401}, AccessError),
    ("status", {"status": 403}, AccessError),
    ("status", {"status": 429}, UnavailableError),
    ("status", {"status": 500}, UnavailableError),
    ("status", {"status": 503, "retry_after": 0.01}, UnavailableError),
    ("status", {"status": 412}, ChangedError),
    ("status", {"status": 400}, ResponseError),
    ("ignore_range", {}, ResponseError),
    ("short_body", {}, ResponseError),
    ("long_body", {}, ResponseError),
    ("wrong_content_range", {}, ResponseError),
    ("html", {}, ResponseError),
    ("drop", {}, UnavailableError),
)


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize(("kind", "options", "error"), TOLD_APART)
def test_each_kind_of_fault_is_told_apart_in_failures(
    served: Server, tmp_path: Path, kind: str, options: dict[str, Any], error: type[RasteretRefsError]
) -> None:
    served.fail(kind, path="s0.tif", **options)
    refs = rr.build([f"{served.url}s0.tif", f"{served.url}s1.tif"], tmp_path / "x.refs", on_error="skip")
    (row,) = refs.refset.failures().to_pylist()
    assert row["error"] == error.__name__, row["message"]
    assert row["phase"] == "header"
    assert row["attempts"] > 1 or error is not UnavailableError
    words = {"html": "web page", "ignore_range": "ignores ranges", "wrong_content_range": "Content-Range"}
    assert words.get(kind, str(options.get("status", ""))) in row["message"]


@pytest.mark.usefixtures("transport")
def test_a_stalled_body_ends_with_the_time_that_storage_gives(served: Server, tmp_path: Path) -> None:
    served.fail("stall", path="s0.tif", seconds=60)
    objects = Objects({served.url: {"timeout": 0.3}}, retries=1)
    scenes = [Scene(id=f"s{n}", assets=(Asset(name="image", href=f"{served.url}s{n}.tif"),)) for n in range(2)]
    report = build_run.build(scenes, tmp_path / "x.refs", axis="scene", on_error="skip", objects=objects)
    (failure,) = report.failures
    assert isinstance(failure.error, UnavailableError)
    assert "in time" in str(failure.error)


@pytest.mark.usefixtures("transport")
def test_an_expired_token_is_an_access_error_and_no_tiff_is_no_tiff(served: Server, tmp_path: Path) -> None:
    served.put("page.tif", b"<!doctype html><html><body>Please sign in</body></html>")
    with pytest.raises(NotATiffError, match=r"page\.tif"):
        rr.build([f"{served.url}page.tif"], tmp_path / "x.refs")
    rr.build([f"{served.url}s0.tif"], tmp_path / "y.refs")
    served.require("sig=1")
    with pytest.raises(AccessError, match="403"):
        rr.open(tmp_path / "y.refs").to_xarray().image.values  # noqa: B018 - reading is what is tested


STORM = int(os.environ.get("RASTERET_REFS_STORM", "300"))
"""Scenes and tiles of the small storm; `make faults` asks for 2,000."""


def test_a_storm_of_503_is_weathered_within_the_requests_allowed(tmp_path: Path, scenes: Path) -> None:
    data = (scenes / "s0.tif").read_bytes()
    with serve(process=True) as server:
        urls = [server.put(f"{number:04d}.tif", data) for number in range(STORM)]
        objects = Objects()
        _storm(server)
        listed = [Scene(id=url[-8:-4], assets=(Asset(name="image", href=url),)) for url in urls]
        build_run.build(listed, tmp_path / "x.refs", axis="scene", objects=objects)
        built = objects.traffic.requests / STORM
        server.mend()
        server.reset()
        refs = rr.open(tmp_path / "x.refs")
        _storm(server)
        tiles = refs.to_xarray().image[:, :64, :64].values
        read = server.stats().requests / STORM
    assert tiles.shape == (STORM, 64, 64)
    assert (tiles == tiles[:1]).all()
    print(f"\n30 % of answers 503: {built:.2f} requests a header built, {read:.2f} a tile read, {STORM} each")
    assert built <= 1.6
    assert read <= 1.6


def _storm(server: Server) -> None:
    """Answer 3 of 10 requests with 503, spread."""
    server.fail("status", status=503, every=10)
    server.fail("status", status=503, every=10, skip=3)
    server.fail("status", status=503, every=10, skip=6)
