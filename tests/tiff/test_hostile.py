"""Hostile headers: only errors of our tree, within a second and 256 MiB, and no reference outside the file."""

import random
import struct
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasteret_refs.errors import LimitError, RasteretRefsError
from rasteret_refs.tiff.parse import parse
from rasteret_refs.tiff.values import NeedsBytes, TiffFile
from rasteret_refs.tiff.windows import Windows
from tests.tiff import builder
from tests.tiff.builder import Ifd, build, gray
from tests.tiff.reading import checked, manifest

SHORT, LONG, LONG8, ASCII, DOUBLE = builder.SHORT, builder.LONG, builder.LONG8, builder.ASCII, builder.DOUBLE
MEMORY = 256 * 1024 * 1024
INTERESTING = (0, 1, 2, 3, 4, 7, 8, 255, 256, 65535, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def digest(data: bytes) -> TiffFile | None:
    """Everything that a build does with a header; None where it is refused."""
    try:
        return checked(data)
    except RasteretRefsError:
        return None


def rich(order: str, big: bool) -> bytes:
    tags = gray(
        t42112=(ASCII, b'<GDALMetadata><Item name="a" sample="0" role="scale">2</Item></GDALMetadata>\0'),
        t42113=(ASCII, b"-9999\0"),
        t33550=(DOUBLE, [10.0, 10.0, 0.0]),
        t33922=(DOUBLE, [0.0, 0, 0, 500.0, 600.0, 0]),
        t34735=(SHORT, [1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633]),
    )
    tiles = gray(
        t273=None, t279=None, t278=None, t322=(SHORT, [2]), t323=(SHORT, [2]), t254=(LONG, [1]),
        t324=(LONG, [8, 12, 16, 20]), t325=(LONG, [4, 4, 4, 4]),
    )  # fmt: skip
    return build(Ifd(tags, subs=[Ifd(tiles)]), Ifd(tiles), order=order, big=big)


SEEDS = [rich(order, big) for order in "<>" for big in (False, True)]


def mutated(data: bytes, source: random.Random) -> bytes:
    """A few structure-aware changes: fields of entries, pointers, single bits, cuts and repeats."""
    out = bytearray(data)
    for _ in range(source.randint(1, 4)):
        if len(out) < 16:
            break
        at = source.randrange(len(out))
        kind = source.randrange(5)
        if kind == 0:
            out[at] ^= 1 << source.randrange(8)
        elif kind == 1:
            struct.pack_into(source.choice("<>") + "H", out, min(at, len(out) - 2), source.choice(INTERESTING) & 0xFFFF)
        elif kind == 2:
            struct.pack_into(source.choice("<>") + "I", out, min(at, len(out) - 4), source.choice(INTERESTING))
        elif kind == 3:
            struct.pack_into(source.choice("<>") + "I", out, min(at, len(out) - 4), source.randrange(len(out)))
        else:
            out = out[: max(at, 16)]
    return bytes(out)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_headers_end_in_our_errors_or_in_references_inside_the_file(seed):
    source = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    accepted = 0
    for _ in range(1000):
        data = mutated(SEEDS[seed], source)
        begin = time.perf_counter()
        accepted += digest(data) is not None
        assert time.perf_counter() - begin < 1
    assert 0 < accepted < 1000


def test_mutated_real_headers_end_in_our_errors_or_in_references_inside_the_file(corpus):
    source = random.Random(7)  # noqa: S311 - likewise
    rows = [row for row in manifest(corpus) if 0 < int(row["bytes"]) < 60_000]
    for row in rows:
        data = (corpus / row["path"]).read_bytes()
        for _ in range(10):
            begin = time.perf_counter()
            digest(mutated(data, source))
            assert time.perf_counter() - begin < 1.5, row["path"]  # PROJ's first look-up of a CRS included


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0"]), st.binary(max_size=300))
def test_arbitrary_bytes_end_in_our_errors(mark, data):
    digest(mark + data)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 400) | st.none())
def test_windows_of_arbitrary_bytes_ask_only_for_what_is_missing(data, size):
    if size is not None and size < len(data):
        size = len(data)
    windows = Windows(size)
    windows.add(0, b"II*\0\x08\0\0\0" + data if size is None else (b"II*\0\x08\0\0\0" + data)[:size])
    try:
        answer = parse(windows)
    except RasteretRefsError:
        return
    if isinstance(answer, NeedsBytes):
        for wanted in answer.ranges:
            assert wanted.start < wanted.stop
            assert windows.view(wanted.start, wanted.stop) is None
            assert size is None or wanted.stop <= size


def overlapping_ifds(count: int, entries: int) -> bytes:
    """A chain of IFDs that all lie over the same bytes, two apart."""
    body = bytearray(16 + count * 2 + entries * 12 + 64)
    body[:8] = b"II*\0" + struct.pack("<I", 8)
    for at in range(8, len(body) - 2, 2):
        struct.pack_into("<H", body, at, entries)
    return bytes(body)


def many_copies_of(tags: dict[int, tuple], number: int) -> bytes:
    return build(*[tags | {305: (ASCII, b"%08d\0" % n)} for n in range(number)])


def shared_array(images: int, values: int) -> bytes:
    """Many IFDs whose offsets and counts are the same large array."""
    array = struct.pack("<I", 8) * values
    pointer = struct.pack("<I", 8)
    ifds = []
    for _ in range(images):
        tags = gray(
            t257=(LONG, [values]), t278=(SHORT, [1]), t273=(LONG, pointer, values), t279=(LONG, pointer, values)
        )
        ifds.append(Ifd(tags))
    return build(*ifds, data=array)


@pytest.mark.parametrize(
    "make",
    [
        lambda: build(*[gray()] * 5000),
        lambda: overlapping_ifds(20_000, 1000),
        lambda: overlapping_ifds(20_000, 4096),
        lambda: shared_array(200, 500_000),
        lambda: many_copies_of(gray(t33922=(DOUBLE, [1.5] * 100_000)), 60),
        lambda: many_copies_of(gray(t42112=(ASCII, b"<a>" * 300_000)), 60),
        lambda: many_copies_of(gray(t258=(SHORT, [16]), t320=(SHORT, list(range(65536)) * 3)), 60),
        lambda: build(gray(t330=(LONG, list(range(8, 4000))))),
        lambda: build(*[gray(t330=(LONG, list(range(200, 1200))))] * 50),
        lambda: build(gray(t254=(LONG, [0])), *[gray(t254=(LONG, [1]))] * 2000, *[gray(t254=(LONG, [5]))] * 2000),
        lambda: build(gray(t256=(LONG, [2**31 - 1]), t257=(LONG, [2**31 - 1]), t278=(LONG, [2**31 - 1]))),
        lambda: build(gray(t256=(LONG, [4_000_000]), t257=(LONG, [1]), t322=(SHORT, [1]), t323=(SHORT, [1]))),
    ],
    ids=[
        "5,000 IFDs", "overlapping IFDs", "overlapping large IFDs", "one array for 200 images", "tiepoints", "metadata",
        "palettes", "SubIFDs everywhere", "SubIFDs of all", "overviews and masks", "huge image", "a million tiles",
    ],
)  # fmt: skip
def test_bombs_take_neither_time_nor_memory(make):
    data = make()
    begin = time.perf_counter()
    digest(data)
    assert time.perf_counter() - begin < 1
    tracemalloc.start()
    try:
        digest(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY


def test_thousands_of_ifds_are_refused():
    windows = Windows()
    windows.add(0, build(*[gray()] * 5000))
    with pytest.raises(LimitError, match="IFDs"):
        parse(windows)


def test_bytes_asked_for_are_bounded_where_the_size_is_unknown():
    tags = [gray(t273=(LONG, struct.pack("<I", 10**9 - n * 40_000_000), 7_000_000)) for n in range(8)]
    windows = Windows()
    windows.add(0, build(*tags))
    with pytest.raises(LimitError, match="more bytes"):
        parse(windows)
