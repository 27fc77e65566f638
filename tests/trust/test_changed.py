"""Objects that changed after they were indexed: raised on read, listed by `verify --sources`, never decoded."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from click.testing import CliRunner

import rasteret_refs as rr
from rasteret_refs.cli import main
from rasteret_refs.errors import ChangedError, DecodeError, ObjectError
from tests.servers.range_server import Server, serve
from tests.trust.conftest import SCENES, write_scene

KINDS = ("s", "raw")


def changed_bytes(data: bytes, how: str) -> bytes:
    """Another version of an object."""
    if how == "same size":
        return data[:-100] + bytes(b ^ 0xFF for b in data[-100:])
    return data + b"\0" * 10 if how == "longer" else data[:-10]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["same size", "longer", "shorter"])
def test_changed_objects_are_raised_and_listed(
    scenes: Path, tmp_path: Path, kind: str, how: str, pixels: npt.NDArray[Any]
) -> None:
    with serve() as server:
        urls = [server.put(f"{kind}{n}.tif", (scenes / f"{kind}{n}.tif").read_bytes()) for n in range(SCENES)]
        rr.build(urls, tmp_path / "x.refs")
        refs = rr.open(tmp_path / "x.refs")
        np.testing.assert_array_equal(refs.to_xarray().image.values, pixels)
        assert refs.verify(sources=True, pixels=5).objects == SCENES
        for name in urls:
            path = name.rpartition("/")[2]
            data = (scenes / path).read_bytes()
            server.put(path, changed_bytes(data, how))
            for opened in (refs, rr.open(tmp_path / "x.refs")):
                with pytest.raises(ChangedError, match=path):
                    opened.to_xarray().image.values  # noqa: B018 - reading is what is tested
                with pytest.raises(ChangedError) as caught:
                    opened.verify(sources=True)
                assert [problem.url for problem in caught.value.problems] == [name]
                with pytest.raises(DecodeError):
                    opened.verify(pixels=1000)
            loose = rr.open(tmp_path / "x.refs", check_sources=False)
            if how != "shorter":
                loose.to_xarray().image[0, :8, :8].values  # noqa: B018 - the caller opted out
            server.put(path, data)  # another ETag again: the server counts versions
            with pytest.raises(ChangedError):
                rr.open(tmp_path / "x.refs").to_xarray().image.values  # noqa: B018
            rr.build(urls, tmp_path / "x.refs", overwrite=True)
            refs = rr.open(tmp_path / "x.refs")


@pytest.mark.parametrize("kind", KINDS)
def test_changed_files_are_raised_and_listed(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.tif"
    pixels = write_scene(path, 1, compress="deflate" if kind == "s" else "none")
    rr.build([str(path)], tmp_path / "x.refs")
    data, status = path.read_bytes(), path.stat()
    copy = tmp_path / "copy.tif"
    copy.write_bytes(data)
    os.utime(copy, ns=(status.st_atime_ns, status.st_mtime_ns))
    copy.replace(path)  # restored with its time, as backups do it: another inode, the same file
    np.testing.assert_array_equal(rr.open(tmp_path / "x.refs").to_xarray().image.values[0], pixels)
    path.write_bytes(changed_bytes(data, "same size"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))
    with pytest.raises(ChangedError, match=r"a\.tif"):
        rr.open(tmp_path / "x.refs").to_xarray().image.values  # noqa: B018 - reading is what is tested
    result = CliRunner().invoke(main, ["verify", str(tmp_path / "x.refs"), "--sources", "--json"])
    assert result.exit_code == 1
    assert "ChangedError" in result.output
    path.unlink()
    with pytest.raises(ObjectError) as caught:
        rr.open(tmp_path / "x.refs").verify(sources=True)
    assert caught.value.problems[0].error == "NotFoundError"


def test_an_etag_that_changes_between_two_reads_of_a_header_refuses_the_file(tmp_path: Path, server: Server) -> None:
    server.put("far.tif", with_a_far_ifd())
    assert rr.build([f"{server.url}far.tif"], tmp_path / "sound.refs").report.requests == 2
    server.fail("changing_etag", path="far.tif")
    with pytest.raises(ChangedError, match=r"far\.tif"):
        rr.build([f"{server.url}far.tif"], tmp_path / "x.refs")
    assert not (tmp_path / "x.refs").exists()


def with_a_far_ifd() -> bytes:
    """A TIFF whose IFD stands behind its pixels: the header takes a second request."""
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.random.default_rng(0).integers(0, 255, (512, 512), dtype=np.uint8))
    found = bytearray(buffer.getvalue())
    offset = int.from_bytes(found[4:8], "little")
    count = int.from_bytes(found[offset : offset + 2], "little")
    ifd = bytes(found[offset : offset + 2 + 12 * count + 4])
    found += bytes(len(found) % 2)
    found[4:8] = len(found).to_bytes(4, "little")
    return bytes(found + ifd)


def test_an_object_that_lost_its_etag_is_taken_for_changed(scenes: Path, tmp_path: Path, server: Server) -> None:
    """Equal size, no ETag any more: nothing was compared."""
    data = (scenes / "s0.tif").read_bytes()
    url = server.put("a.tif", data)
    rr.build([url], tmp_path / "x.refs")
    server.put("a.tif", data[:-50] + bytes(50))
    server.fail("no_etag")
    refs = rr.open(tmp_path / "x.refs")
    with pytest.raises(ChangedError, match="no ETag"):
        refs.to_xarray().image.values  # noqa: B018 - reading is what is tested
    with pytest.raises(ChangedError):
        refs.verify(sources=True)


def test_without_etags_size_and_time_decide(scenes: Path, tmp_path: Path, server: Server) -> None:
    data = (scenes / "s0.tif").read_bytes()
    url = server.put("a.tif", data)
    server.fail("no_etag", modified="Tue, 02 Jan 2024 00:00:00 GMT")
    rr.build([url], tmp_path / "x.refs")
    pixels = rr.open(tmp_path / "x.refs").to_xarray().image.values
    assert pixels.any()
    server.mend()
    server.put("a.tif", data[:-50] + bytes(50))
    server.fail("no_etag", modified="Wed, 03 Jan 2024 00:00:00 GMT")
    refs = rr.open(tmp_path / "x.refs")
    with pytest.raises(ChangedError):
        refs.to_xarray().image.values  # noqa: B018 - reading is what is tested
    with pytest.raises(ChangedError) as caught:
        refs.verify(sources=True)
    assert [problem.url for problem in caught.value.problems] == [url]


def test_weak_etags_are_compared_by_us(scenes: Path, tmp_path: Path, server: Server) -> None:
    """`If-Match` never fits a weak ETag: it is not sent, and the answer's is compared."""
    data = (scenes / "s0.tif").read_bytes()
    url = server.put("a.tif", data)
    server.fail("weak_etag")
    rr.build([url], tmp_path / "x.refs")
    refs = rr.open(tmp_path / "x.refs")
    assert refs.to_xarray().image.values.any()
    assert refs.verify(sources=True).objects == 1
    server.put("a.tif", data[:-50] + bytes(50))
    with pytest.raises(ChangedError, match="ETag W/"):
        rr.open(tmp_path / "x.refs").to_xarray().image.values  # noqa: B018 - reading is what is tested
    with pytest.raises(ChangedError):
        refs.verify(sources=True)
