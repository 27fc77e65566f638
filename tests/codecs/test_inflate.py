"""Inflating by igzip gives what libdeflate and zlib give, for sound and for damaged streams alike."""

import random
import zlib

import imagecodecs
import numpy as np
import pytest

from rasteret_refs_codecs import inflate
from rasteret_refs_codecs.base import CodecError

needs_igzip = pytest.mark.skipif(inflate._igzip is None, reason="this imagecodecs has no igzip")


def _result(data: bytes, size: int, whole: int | None = None) -> tuple[str, object]:
    out = np.zeros(size, np.uint8)
    try:
        return "decoded", bytes(inflate.inflate(np.frombuffer(data, np.uint8), out, whole or size))
    except CodecError as error:
        return "refused", str(error)


def _streams(count: int) -> list[tuple[bytes, int]]:
    """Make streams and the sizes expected of them: sound, cut off, with a bit flipped, too long, too short, …"""
    chance = random.Random(20261122)  # noqa: S311 - no secret
    made = []
    for _ in range(count):
        size = chance.choice([1, 7, 300, 5000, 40000])
        pixels = bytes(chance.choices(range(chance.choice([16, 256])), k=size))
        data = bytearray(zlib.compress(pixels, chance.choice([0, 1, 9])))
        kind = chance.randrange(7)
        if kind == 1:
            del data[chance.randrange(1, len(data)) :]
        elif kind == 2:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif kind == 3:
            data += bytes(chance.randrange(1, 20))
        elif kind in {4, 5}:
            size = max(1, size + chance.choice([-8, -1, 1, 8]))
        elif kind == 6:
            data[-4:] = bytes(4)
        made.append((bytes(data), size))
    return made


@needs_igzip
def test_no_stream_tells_igzip_from_libdeflate(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = _streams(3000)
    fast = [_result(data, size) for data, size in streams]
    monkeypatch.setattr(inflate, "_igzip", None)
    assert fast == [_result(data, size) for data, size in streams]
    assert {kind for kind, _ in fast} == {"decoded", "refused"}


@needs_igzip
def test_a_wrong_check_sum_is_refused_although_igzip_does_not_look_at_it() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, 4096, np.uint8)
    data = zlib.compress(pixels.tobytes())[:-4] + bytes(4)
    assert imagecodecs.isal_decode(data) == pixels.tobytes()
    assert _result(data, pixels.size)[0] == "refused"


@needs_igzip
def test_no_beginning_of_a_stream_tells_igzip_from_zlib(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(20261123)  # noqa: S311 - no secret
    asked = [(data, chance.randrange(1, size + 1), size + 8) for data, size in _streams(3000)]
    fast = [_full(_result(*one), one[1]) for one in asked]
    monkeypatch.setattr(inflate, "_igzip", None)
    monkeypatch.setattr(inflate, "stoppable_zlib", zlib)
    assert fast == [_full(_result(*one), one[1]) for one in asked]
    assert None in fast


def _full(result: tuple[str, object], size: int) -> object:
    """Give what was decoded, None where it was refused or came short: the libraries give up at different bytes."""
    kind, found = result
    return found if kind == "decoded" and isinstance(found, bytes) and len(found) == size else None


@needs_igzip
@pytest.mark.parametrize("strategy", [zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY, zlib.Z_RLE, zlib.Z_FIXED])
@pytest.mark.parametrize("level", [0, 1, 9])
def test_igzip_fills_memory_to_its_last_byte_before_it_says_that_the_stream_goes_on(level: int, strategy: int) -> None:
    chance = np.random.default_rng(level * 10 + strategy)
    runs = [np.repeat(chance.integers(0, 256, 40, np.uint8), chance.integers(1, 300, 40)) for _ in range(2)]
    pixels = np.concatenate([runs[0], chance.integers(0, 4, 3000, np.uint8), runs[1], runs[0]]).tobytes()
    stream = zlib.compressobj(level, strategy=strategy)
    data = np.frombuffer(stream.compress(pixels) + stream.flush(), np.uint8)
    for size in range(1, len(pixels), 7):
        for filled in (0, 255):  # whatever igzip leaves out shows in one of them
            out = np.full(size, filled, np.uint8)
            assert inflate._igzip_overflows(data, out)
            assert out.tobytes() == pixels[:size]


@pytest.mark.parametrize("igzip", [True, False])
def test_a_cut_stream_gives_what_it_holds_and_never_more(monkeypatch: pytest.MonkeyPatch, *, igzip: bool) -> None:
    """A decoder that guesses at bits behind the end would fill the last bytes with them."""
    if not igzip:
        monkeypatch.setattr(inflate, "_igzip", None)
    elif inflate._igzip is None:
        pytest.skip("this imagecodecs has no igzip")
    chance = random.Random(20261124)  # noqa: S311 - no secret
    full = 0
    for _ in range(40):
        size = chance.choice([300, 5000, 40000])
        pixels = bytes(chance.choices(range(chance.choice([3, 16, 256])), k=size))
        data = zlib.compress(pixels, chance.choice([0, 1, 6, 9]))
        for _ in range(10):
            cut = chance.randrange(2, len(data))
            held = len(zlib.decompressobj().decompress(data[:cut]))
            for wanted in {max(1, held - 1), max(1, held), held + 1, held + 2, held + 9} - {size}:
                kind, found = _result(data[:cut], wanted, size + 9)
                if kind == "decoded" and len(found) == wanted:
                    full += 1
                    assert found == pixels[:wanted]
    assert full > 400
