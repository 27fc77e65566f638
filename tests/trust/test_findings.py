"""What campaigns found, kept small: each case failed once."""

import lzma
import random
import tracemalloc
import zlib
from typing import Any

import numcodecs
import numpy as np
import pytest

from rasteret_refs.errors import UnsupportedTiffError
from rasteret_refs.virtual.codec_chain import codec_chain
from rasteret_refs_codecs.base import CodecError
from rasteret_refs_codecs.fast import compile_decoder
from tests.codecs.goldens import GOLDENS
from tests.tiff import builder
from tests.tiff.reading import described
from tests.trust.examine import examine
from tests.trust.mutate import mutated
from tests.trust.seeds import seeds
from tests.trust.set_cases import case, use, with_file

FILL_ORDER = {"id": "rasteret_refs.fill_order", "version": 1}
ENCODERS = {"lzma": lzma.compress, "zlib": zlib.compress}


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_streams_behind_another_codec_are_bounded_too(name: str) -> None:
    """Chains that begin with FillOrder were decoded by numcodecs, without a bound."""
    decoder = compile_decoder([{"id": name}], FILL_ORDER, "|u1", (16, 16))
    bomb = _reversed(ENCODERS[name](bytes(1 << 26)))
    out = np.full((16, 16), 9, np.uint8)
    tracemalloc.start()
    try:
        decoder.decode_into(bomb, out)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert not out.any()


@pytest.mark.parametrize("name", [*sorted(ENCODERS), "zstd", "imagecodecs_lzw", "imagecodecs_packbits"])
def test_damaged_streams_behind_another_codec_are_errors_of_ours(name: str) -> None:
    """`LZMAError` and `zlib.error` are no `ValueError`: they reached the caller."""
    decoder = compile_decoder([{"id": name}], FILL_ORDER, "|u1", (16, 16))
    source = random.Random(0)  # noqa: S311 - to be repeated
    for _ in range(200):
        try:
            decoder.decode_into(source.randbytes(source.randrange(1, 200)), np.empty((16, 16), np.uint8))
        except CodecError:
            continue


@pytest.mark.parametrize("config", [golden.config for golden in GOLDENS if golden.name == "lzw"], ids=str)
def test_lzw_streams_that_end_early_are_no_chunks(config: dict[str, Any]) -> None:
    """After `clear` nothing whole follows: these bytes gave no pixels, and no error."""
    with pytest.raises(CodecError, match="the stream ends early"):
        numcodecs.get_codec(config).decode(bytes.fromhex("8030"))


def _reversed(data: bytes) -> bytes:
    return np.packbits(np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 8)[:, ::-1]).tobytes()


@pytest.mark.parametrize("parameters", [(4, 1 << 32), (1 << 63, 0), (4,)])
def test_lerc_parameters_beyond_32_bits_are_refused(parameters: tuple[int, ...]) -> None:
    """They ended in `struct.error` when the first chunk was decoded."""
    data = builder.build(
        builder.gray(t259=(builder.SHORT, [34887]), t50674=(builder.LONG8, list(parameters))), big=True
    )
    with pytest.raises(UnsupportedTiffError, match="LercParameters"):
        codec_chain(described(data))


LERC_ZSTD = "0165-lerc_zstd-p1-int16-chunky-le-striped-classic-3b"  # libtiff found no directory: `IndexError`
CASES = [("lerc_deflate-nan-0", 139), ("lerc_zstd-constant", 215), (LERC_ZSTD, 178), (LERC_ZSTD, 322)]
CASES += [("lerc-alpha", 249), ("lerc-nan-chunky", 95)]  # ExtraSamples beyond 16 bits: `struct.error`


@pytest.mark.parametrize(("name", "times"), CASES)
def test_cases_of_the_campaign_end_in_errors_of_ours(name: str, times: int) -> None:
    number = [label for label, _ in seeds()].index(name)
    source = random.Random(number)  # noqa: S311 - to be repeated
    data = seeds()[number][1]
    for _ in range(times + 1):
        changed = mutated(data, source)
    examine(changed)


@pytest.mark.parametrize("number", [723, 1107, 1524, 4055])
def test_sets_of_the_campaign_end_in_errors_of_ours(number: int) -> None:
    """No geometry beside a box, arrays of other lengths, texts that are no UTF-8."""
    use(with_file(*case(number)))
