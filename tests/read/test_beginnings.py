"""Tiles of which only the beginning is asked for: fewer bytes, the same pixels, and whole where it was not enough."""

import numpy as np
import pytest
import tifffile

import rasteret_refs as rr
from rasteret_refs.errors import DecodeError
from rasteret_refs.read import beginnings
from rasteret_refs.read.cache import DiskCache
from rasteret_refs.read.engine import open_reader
from rasteret_refs.read.reader import Reader, Window
from tests.read.conftest import noise, write_cog
from tests.servers.range_server import serve

SIDE, TILE = 1024, 512
PATH = "factor_1/image"


def even(seed):
    return noise((1, SIDE, SIDE), seed=seed)


def ragged(seed):
    """Noise in the upper rows of each tile, above nodata."""
    pixels = even(seed)
    for row in range(0, SIDE, TILE):
        pixels[:, row + 220 : row + TILE] = 0
    return pixels


KINDS = {
    "even": (even, {}),
    "ragged": (ragged, {}),
    "stored": (even, {"compress": "none", "predictor": "no"}),
    "lzw": (even, {"compress": "lzw"}),
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Four scenes of each kind behind a server: (server, {kind: (set, pixels)})."""
    directory = tmp_path_factory.mktemp("tiles")
    with serve(directory, process=True) as server:
        found = {}
        for kind, (make, options) in KINDS.items():
            pixels = np.concatenate([make(seed) for seed in range(4)])
            for number in range(4):
                own = {"overviews": "none", "blocksize": TILE} | options
                write_cog(directory / f"{kind}{number}.tif", pixels[number : number + 1], **own)
            out = directory / f"{kind}.refs"
            rr.build([f"{server.url}{kind}{number}.tif" for number in range(4)], out)
            found[kind] = (out, pixels)
        yield server, found


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(beginnings, "WORTH_OF_BATCH", 256 * 1024)
    monkeypatch.setattr(beginnings, "WORTH_OF_TILE", 64 * 1024)


def read(reader: Reader, *key) -> np.ndarray:
    return reader.read_many([Window(array=reader.array(PATH), key=key)])[0]


def measured(scenes, kind, key, **options):
    """Read a window; give the pixels expected, those read, and the (requests, bytes) that it took."""
    server, sets = scenes
    out, pixels = sets[kind]
    reader = open_reader(out, **options)
    read(reader, 0, 0, slice(0, 1))  # manifests and versions
    server.reset()
    found = read(reader, *key)
    stats = server.stats()
    np.testing.assert_array_equal(found, pixels[key])
    return stats.requests, stats.bytes_sent


UPPER = (slice(None), slice(0, 100), slice(None))


@pytest.mark.parametrize("kind", ["even", "stored"])
def test_upper_rows_take_a_part_of_the_bytes(scenes, kind, monkeypatch):
    _, guessed = measured(scenes, kind, UPPER)
    monkeypatch.setattr(beginnings, "WORTH_OF_BATCH", 1 << 40)
    _, whole = measured(scenes, kind, UPPER)
    exact = whole * 100 / TILE
    assert guessed < (1.01 * exact if kind == "stored" else 0.45 * whole)
    assert guessed > 0.99 * exact


def test_rows_within_and_below_a_tile_are_right_too(scenes):
    for rows in (slice(30, 31), slice(50, 300), slice(100, 512), slice(500, 600), slice(511, 513), slice(700, 1024)):
        measured(scenes, "even", (slice(None), rows, slice(3, 900)))


def test_beginnings_that_are_not_enough_are_followed_by_whole_tiles(scenes):
    # 200 rows of 512 hold 90 % of the bytes here; if they were twice as dense as the others, they would hold 56 %.
    # Of two neighbours the left one comes whole: what would be left out between them is too little.
    requests, sent = measured(scenes, "ragged", (slice(None), slice(0, 200), slice(None)))
    assert requests == 4 + 4
    whole_requests, whole = measured(scenes, "ragged", (slice(None), slice(0, TILE), slice(None)))
    assert whole_requests == 4
    assert 1.2 * whole < sent < 1.35 * whole


def test_a_reader_learns_from_wrong_guesses_and_right_ones(scenes):
    server, sets = scenes
    out, pixels = sets["ragged"]
    reader = open_reader(out)
    key = (slice(None), slice(0, 200), slice(None))
    np.testing.assert_array_equal(read(reader, *key), pixels[key])
    assert reader._beginnings is not None
    assert reader._beginnings._density > beginnings.FIRST_DENSITY
    server.reset()
    np.testing.assert_array_equal(read(reader, *key), pixels[key])
    assert server.stats().requests == 4  # whole at once
    steady = open_reader(sets["even"][0])
    for _ in range(8):
        read(steady, *UPPER)
    assert steady._beginnings is not None
    assert steady._beginnings._density < beginnings.FIRST_DENSITY


@pytest.mark.parametrize("kind", ["lzw", "even"])
def test_tiles_that_cannot_stop_early_or_are_kept_come_whole(scenes, kind, tmp_path, monkeypatch):
    options = [{}] if kind == "lzw" else [{"tile_cache": 1 << 26}, {"disk_cache": DiskCache(tmp_path, 1 << 26)}]
    found = [measured(scenes, kind, UPPER, **choice) for choice in options]
    monkeypatch.setattr(beginnings, "WORTH_OF_BATCH", 1 << 40)
    requests, whole = measured(scenes, kind, UPPER)
    # A cache holds one of the eight tiles from before.
    assert all(many == requests and sent > 0.85 * whole for many, sent in found)


def test_a_batch_that_would_save_little_takes_its_tiles_whole(scenes, monkeypatch):
    monkeypatch.undo()
    one = (0, slice(0, 100), slice(0, 100))
    assert measured(scenes, "even", one)[1] > 400_000


def test_a_damaged_tile_is_told_as_such_after_its_beginning_failed(scenes, tmp_path):
    """Damage in the rows wanted: the beginning is refused, the tile is asked for whole, and the error names it."""
    _, sets = scenes
    with serve(tmp_path) as server:
        for number in range(4):
            path = sets["even"][0].parent / f"even{number}.tif"
            source = bytearray(path.read_bytes())
            with tifffile.TiffFile(path) as file:
                offset = file.pages[0].dataoffsets[0]
            source[offset : offset + 8] = bytes(8)
            (tmp_path / f"even{number}.tif").write_bytes(source)
        out = tmp_path / "damaged.refs"
        rr.build([f"{server.url}even{number}.tif" for number in range(4)], out)
        server.reset()
        with pytest.raises(DecodeError, match=r"even\d\.tif"):
            read(open_reader(out), slice(None), slice(0, 300), slice(0, TILE))
        asked = [(request.path, request.start, request.stop) for request in server.requests()]
        assert len(asked) > 4
        assert len(set(asked)) == len(asked)
