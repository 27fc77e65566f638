"""No configuration and no data make a codec take more memory than a chunk has."""

import tracemalloc
import zlib

import imagecodecs
import numcodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasteret_refs_codecs.base import CodecError
from rasteret_refs_codecs.fast import compile_decoder
from tests.codecs.goldens import GOLDENS

SHAPED = sorted({golden.name for golden in GOLDENS} - {"fill_order", "lzw"})
BY_NAME = {golden.name: golden for golden in reversed(GOLDENS)}
SIDE = 6000
BLACK = np.zeros((SIDE, SIDE, 3), np.uint8)
BOMBS = {
    "jpeg": lambda: imagecodecs.jpeg8_encode(BLACK),
    "webp": lambda: imagecodecs.webp_encode(BLACK, lossless=True),
    "jpegxl": lambda: imagecodecs.jpegxl_encode(BLACK, lossless=True, effort=1),
    "jpeg2000": lambda: imagecodecs.jpeg2k_encode(BLACK[:2000, :2000]),
    "lerc": lambda: imagecodecs.lerc_encode(BLACK[..., 0]),
}


@pytest.mark.parametrize("name", SHAPED)
@pytest.mark.parametrize("shape", [[0, 1, 1], [1, -1, 1], [1, 1], "abc", [1 << 20, 1 << 20, 1], None])
def test_senseless_and_huge_shapes_are_refused(name: str, shape: object) -> None:
    with pytest.raises(CodecError, match="shape"):
        numcodecs.get_codec(BY_NAME[name].config | {"shape": shape})


@pytest.mark.parametrize("name", sorted(set(SHAPED) - {"band_first"}))
@pytest.mark.parametrize("rows", [-1, 2, 9])
def test_short_rows_are_fewer_than_rows(name: str, rows: int) -> None:
    config = BY_NAME[name].config
    with pytest.raises(CodecError, match="short_rows"):
        numcodecs.get_codec(config | {"shape": [2, *config["shape"][1:]], "short_rows": rows})


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("horizontal_predictor", "bits", 12),
        ("horizontal_predictor", "byte_order", "="),
        ("floating_point_predictor", "bits", 8),
        ("unpack_bits", "bits", 32),
        ("unpack_bits", "sample_format", "float"),
        ("byte_order", "bits", 8),
        ("complex_int", "bits", 64),
        ("pad", "sample_bytes", 3),
        ("jpeg", "bits", 10),
        ("jpeg", "tables", "no base64!"),
        ("lerc", "dtype", "<u8"),
        ("jpegxl", "dtype", "<f8"),
        ("ccitt", "scheme", "group5"),
        ("ccitt", "fill_order", 3),
        ("lzw", "decoded_bytes", 0),
        ("lzw", "decoded_bytes", 1 << 40),
        ("lzw", "decoded_bytes", "many"),
        ("lzw", "rows", 0),
        ("lzw", "rows", 2),
        ("lzw", "rows", "many"),
        ("lzw", "short_rows", 1),
        ("lzw", "short_rows", "few"),
    ],
)
def test_unknown_values_of_options_are_refused(name: str, option: str, value: object) -> None:
    with pytest.raises(CodecError, match=f"rasteret_refs.{name}"):
        numcodecs.get_codec(BY_NAME[name].config | {option: value})


def test_missing_options_are_refused() -> None:
    with pytest.raises(CodecError, match="horizontal_predictor"):
        numcodecs.get_codec({"id": "rasteret_refs.horizontal_predictor"})


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_images_larger_than_the_chunk_are_refused_before_they_are_decoded(name: str) -> None:
    bomb = BOMBS[name]()
    codec = numcodecs.get_codec(BY_NAME[name].config)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError, match="expected an image of"):
            codec.decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 4 * len(bomb) + (1 << 20)
    finally:
        tracemalloc.stop()


def test_stored_chunks_do_not_grow_beyond_the_chunk() -> None:
    from rasteret_refs_codecs.images import STORED

    codec = numcodecs.get_codec(BY_NAME["jpeg"].config)
    assert codec.decode(STORED + zlib.compress(bytes(range(64)) + bytes(1 << 24))).tobytes() == bytes(range(64))
    for damaged in (zlib.compress(bytes(63)), b"", b"abc", zlib.compress(bytes(64))[:4]):
        with pytest.raises(CodecError, match="stored chunk"):
            codec.decode(STORED + damaged)


@pytest.mark.parametrize("compressor", ["zlib", "zstd", "lzma", "imagecodecs_lzw"])
@pytest.mark.parametrize("rows", [None, 1])
def test_fast_decoding_bounds_decompression_bombs(compressor: str, rows: int | None) -> None:
    bomb = numcodecs.get_codec({"id": compressor}).encode(bytes(1 << 26))
    decoder = compile_decoder([], {"id": compressor}, "|u1", (16, 16))
    out = np.full((16, 16), 9, np.uint8)
    tracemalloc.start()
    try:
        if compressor == "zstd":
            with pytest.raises(CodecError, match="zstd frame of 256 bytes"):
                decoder.decode_into(bomb, out, rows)
        else:
            decoder.decode_into(bomb, out, rows)
            assert not out[:rows].any()
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_truncated_jpeg_is_refused_rather_than_grey() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)
    encoded = imagecodecs.jpeg8_encode(pixels)
    codec = numcodecs.get_codec({"id": "rasteret_refs.jpeg", "shape": [64, 64, 1]})
    assert codec.decode(encoded).size == pixels.size
    with pytest.raises(CodecError, match="end-of-image"):
        codec.decode(encoded[: len(encoded) // 2])


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_data_decode_to_a_chunk_or_raise_our_error(golden, data: st.DataObject) -> None:
    encoded = bytearray(bytes.fromhex(golden.encoded))
    for _ in range(data.draw(st.integers(1, 4))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(encoded)))
    codec = numcodecs.get_codec(golden.config)
    for damaged in (bytes(encoded), bytes(encoded[:cut])):
        try:
            decoded = codec.decode(damaged)
        except CodecError:
            continue
        assert decoded.nbytes == (golden.decoded.nbytes if golden.name != "fill_order" else len(damaged))


def test_errors_say_what_was_expected_and_what_came() -> None:
    codec = numcodecs.get_codec(BY_NAME["horizontal_predictor"].config | {"shape": [4, 6, 1], "short_rows": 2})
    with pytest.raises(CodecError, match=r"expected 48 bytes for 4 rows or 24 \(last strip\), got 23"):
        codec.decode(bytes(23))
