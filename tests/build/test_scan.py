"""Scanning headers: requests, bytes, limits, and every kind of file that is no TIFF."""

import asyncio
import struct
import time

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.transform import from_origin

from rasteret_refs.build.headers import FirstRead
from rasteret_refs.build.scan import scan
from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import ChangedError, NotATiffError, NotFoundError, ResponseError, TruncatedError
from rasteret_refs.objects.client import Objects


def write_cog(path, size=600, block=256, overviews=(2, 4), **options):
    data = np.arange(size * size, dtype="uint16").reshape(size, size)
    profile = {
        "driver": "GTiff", "dtype": "uint16", "count": 1, "width": size, "height": size, "crs": "EPSG:32643",
        "transform": from_origin(600000, 1500000, 10, 10), "tiled": True, "blockxsize": block, "blockysize": block,
        "compress": "deflate", "predictor": 2,
    } | options  # fmt: skip
    with rasterio.open(path, "w", **profile) as file:
        file.write(data, 1)
        file.build_overviews(overviews, Resampling.nearest)
    return path


def scene(name, *hrefs):
    return Scene(id=name, assets=tuple(Asset(name=f"a{i}", href=str(href)) for i, href in enumerate(hrefs)))


def scan_all(scenes, objects=None, **options):
    async def go():
        return [result async for result in scan(scenes, objects or Objects(retries=1), **options)]

    return asyncio.run(go())


def test_a_cog_costs_one_request_of_at_most_32_kb(server, tmp_path):
    for number in range(40):
        write_cog(tmp_path / f"{number}.tif")
    objects = Objects()
    results = scan_all([scene(str(n), f"{server.url}{n}.tif") for n in range(40)], objects)
    assert len(results) == 40
    assert server.stats().requests == objects.traffic.requests == 40
    assert objects.traffic.bytes <= 40 * 33_000


def test_scanned_assets_say_what_the_server_said(server, tmp_path):
    path = write_cog(tmp_path / "a.tif")
    (result,) = scan_all([scene("s", f"{server.url}a.tif")])
    (asset,) = result.assets
    assert (asset.name, asset.url, asset.size) == ("a0", f"{server.url}a.tif", path.stat().st_size)
    assert asset.etag is not None
    assert asset.last_modified == "2024-01-01T00:00:00Z"
    assert [level.factor for level in asset.pyramids[0].levels] == [1, 2, 4]


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_header_at_the_end_of_the_file_is_read_too(server, tmp_path):
    path = tmp_path / "late.tif"
    data = bytes(200_000)
    entries = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 100_000),
               (277, 3, 1, 1), (278, 3, 1, 8), (279, 4, 1, 64)]  # fmt: skip
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + bytes(4)
    path.write_bytes(struct.pack("<2sHI", b"II", 42, len(data)) + data[8:] + ifd)
    with rasterio.open(path) as file:
        assert file.shape == (8, 8)
    objects = Objects()
    (result,) = scan_all([scene("s", f"{server.url}late.tif")], objects)
    assert result.assets[0].pyramids[0].levels[0].image.offsets.tolist() == [100_000]
    assert objects.traffic.requests == 2


def test_the_first_request_shrinks_for_short_headers_and_never_grows_past_32_kb():
    first = FirstRead()
    assert first.size == 32 * 1024
    for _ in range(64):
        first.learn(3000)
    assert first.size == 16 * 1024
    for _ in range(300):
        first.learn(21_000)
    assert first.size == 24 * 1024
    for _ in range(300):
        first.learn(5_000_000)
    assert first.size == 24 * 1024


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", NotATiffError, "empty"),
        (b"<!DOCTYPE html><html></html>", NotATiffError, "HTML"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), NotATiffError, "PNG"),
        (b"II*\0", TruncatedError, "4 bytes"),
    ],
)
def test_what_is_no_tiff_is_named_with_what_it_is(server, tmp_path, content, error, message):
    (tmp_path / "x.tif").write_bytes(content)
    for href in (f"{server.url}x.tif", tmp_path / "x.tif"):
        with pytest.raises(error, match=message) as refusal:
            scan_all([scene("s", href)])
        assert str(refusal.value).startswith(str(href))


def test_a_directory_is_no_tiff(tmp_path):
    with pytest.raises(NotATiffError, match="directory"):
        scan_all([scene("s", tmp_path)])


def test_references_outside_the_object_are_refused(server, tmp_path):
    path = write_cog(tmp_path / "a.tif")
    content = path.read_bytes()
    (tmp_path / "cut.tif").write_bytes(content[:-1000])
    with pytest.raises(TruncatedError, match=r"cut\.tif: .*the file has"):
        scan_all([scene("s", f"{server.url}cut.tif")])


def test_a_header_cut_anywhere_is_refused_or_lies_wholly_inside(tmp_path):
    path = write_cog(tmp_path / "a.tif", size=300, block=128, overviews=(2,))
    content = path.read_bytes()
    cut = tmp_path / "cut.tif"
    for length in range(0, len(content), 37):
        cut.write_bytes(content[:length])
        for result in scan_all([scene("s", cut)], on_error="skip"):
            for asset in result.assets:
                for level in asset.pyramids[0].levels:
                    assert (level.image.offsets + level.image.byte_counts).max() <= length


def test_skipped_assets_become_failures_and_the_others_stay(server, tmp_path):
    write_cog(tmp_path / "a.tif")
    (result,) = scan_all([scene("s", f"{server.url}a.tif", f"{server.url}none.tif")], on_error="skip")
    assert [asset.name for asset in result.assets] == ["a0"]
    (failure,) = result.failures
    assert (failure.scene, failure.asset, failure.phase) == ("s", "a1", "header")
    assert isinstance(failure.error, NotFoundError)


def test_an_object_that_changes_between_two_requests_is_noticed(server, tmp_path):
    path = tmp_path / "late.tif"
    path.write_bytes(struct.pack("<2sHI", b"II", 42, 100_000) + bytes(100_200))
    server.fail("changing_etag")
    with pytest.raises(ChangedError):
        scan_all([scene("s", f"{server.url}late.tif")])


def test_a_login_page_is_no_tiff(server, tmp_path):
    server.fail("html")
    with pytest.raises(ResponseError, match="web page"):
        scan_all([scene("s", f"{server.url}a.tif")])


def test_a_slow_source_of_scenes_does_not_stop_the_requests(server, tmp_path):
    write_cog(tmp_path / "a.tif")

    def slowly():
        for number in range(6):
            if number == 3:
                assert server.stats().requests >= 1
            yield scene(str(number), f"{server.url}a.tif")
            time.sleep(0.1)

    results = scan_all(slowly())
    assert sorted(result.position for result in results) == list(range(6))


def test_an_error_of_the_source_itself_is_raised(tmp_path):
    def broken():
        yield scene("s", write_cog(tmp_path / "a.tif"))
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        scan_all(broken())


def test_scenes_without_assets_pass_through():
    (result,) = scan_all([scene("s")])
    assert result.assets == ()
