"""Compiled decoders give the pixels of the plain chain: any chain, whole chunks and first rows, into any window."""

import concurrent.futures
import lzma
import zlib
from typing import Any

import imagecodecs
import numcodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rasteret_refs_codecs.base import CodecError
from rasteret_refs_codecs.fast import Decoder, compile_decoder
from tests.codecs.goldens import GOLDENS

COMPRESSORS = [
    None, "zlib", "zstd", "lzma", "imagecodecs_lzw", "rasteret_refs.lzw", "imagecodecs_packbits", "gzip",
]  # fmt: skip
"""gzip is none that a decoder knows: such chains are decoded codec by codec."""


def _config(name: str, shape: tuple[int, ...], short_rows: int, **options: Any) -> dict[str, Any]:
    return {
        "id": f"rasteret_refs.{name}",
        "version": 1,
        "shape": list(shape),
        "short_rows": short_rows,
        **options,
    }


@st.composite
def chains(draw: st.DrawFn) -> dict[str, Any]:
    """A chain with a chunk's encoded bytes, made by the plain codecs."""
    samples = draw(st.sampled_from([1, 2, 3, 5]))
    shape = (draw(st.integers(1, 9)), draw(st.integers(1, 12)), samples)
    short = draw(st.integers(0, shape[0] - 1))
    kind = draw(st.sampled_from(["none", "predictor2", "predictor3", "bits", "order", "mask", "complex", "two"]))
    size = draw(st.sampled_from([1, 2, 4, 8]))
    order = draw(st.sampled_from("<>"))
    dtype, steps = f"<u{size}", []
    if kind in {"predictor2", "two"}:
        steps = [_config("horizontal_predictor", shape, short, bits=8 * size, byte_order=order)]
    if kind == "predictor3":
        bits = draw(st.sampled_from([16, 24, 32, 64]))
        dtype = {16: "<f2", 24: "<f4", 32: "<f4", 64: "<f8"}[bits]
        steps = [_config("floating_point_predictor", shape, short, bits=bits)]
    if kind == "bits":
        bits = draw(st.sampled_from([1, 2, 3, 4, 7, 9, 12, 15, 17, 24, 31]))
        dtype = "<u1" if bits < 8 else "<u2" if bits < 16 else "<u4"
        steps = [_config("unpack_bits", shape, short, bits=bits, byte_order=order)]
    if kind == "order":
        dtype, steps = "<u4", [_config("byte_order", shape, short, bits=32, parts=1)]
    if kind == "mask":
        dtype, steps = "|u1", [_config("mask_bits", shape, short)]
    if kind == "complex" or (kind == "two" and size == 4):
        dtype = "<c8"
        steps.append(_config("complex_int", shape, short, bits=16))
    itemsize = np.dtype(dtype).itemsize
    if short:
        steps.append(_config("pad", shape, short, sample_bytes=itemsize))
    if samples > 1:
        steps.append(_config("band_first", shape, 0, sample_bytes=itemsize))
    compressor = draw(st.sampled_from(COMPRESSORS))
    first = numcodecs.get_codec(steps[0]) if steps else None
    row_bytes = first.encoded_row_bytes if first else shape[1] * samples * itemsize
    rows = draw(st.sampled_from([shape[0], short])) or shape[0]
    raw = draw(st.binary(min_size=rows * row_bytes, max_size=rows * row_bytes))
    config = {"id": compressor} if compressor else None
    if compressor == "rasteret_refs.lzw":
        config = {"id": compressor, "version": 1, "decoded_bytes": shape[0] * row_bytes, "rows": shape[0]}
        config["short_rows"] = short
    encoded = numcodecs.get_codec(config).encode(raw) if config else raw
    plane = shape[:2]
    return {
        "filters": steps[::-1],
        "compressor": config,
        "dtype": dtype,
        "chunk_shape": (samples, *plane) if samples > 1 else draw(st.sampled_from([plane, (1, *plane)])),
        "encoded": bytes(encoded),
    }


def _plain(chain: dict[str, Any]) -> np.ndarray:
    data: Any = chain["encoded"]
    for config in [chain["compressor"], *reversed(chain["filters"])]:
        data = numcodecs.get_codec(config).decode(data) if config else data
    return np.frombuffer(bytes(np.ascontiguousarray(data)), chain["dtype"]).reshape(chain["chunk_shape"])


def _compiled(chain: dict[str, Any]) -> Decoder:
    return compile_decoder(chain["filters"], chain["compressor"], chain["dtype"], chain["chunk_shape"])


def _window(shape: tuple[int, ...], dtype: str, *, strided: bool) -> np.ndarray:
    """An output full of 7s, contiguous or a window of a larger array."""
    larger = tuple(size + 3 * strided for size in shape)
    whole = np.frombuffer(b"\7" * (int(np.prod(larger)) * np.dtype(dtype).itemsize), dtype).copy().reshape(larger)
    return whole[tuple(slice(1, 1 + size) for size in shape)] if strided else whole


@settings(max_examples=500, deadline=None)
@given(chain=chains(), strided=st.booleans(), data=st.data())
def test_pixels_equal_the_plain_chains(chain: dict[str, Any], strided: bool, data: st.DataObject) -> None:
    expected = _plain(chain)
    decoder = _compiled(chain)
    height = chain["chunk_shape"][-2]
    rows = data.draw(st.sampled_from([None, *range(1, height + 1)]))
    out = _window(chain["chunk_shape"], chain["dtype"], strided=strided)
    untouched = out.copy()
    decoder.decode_into(chain["encoded"], out, rows)
    assert out[..., :rows, :].tobytes() == expected[..., :rows, :].tobytes()
    if rows is not None:
        assert out[..., rows:, :].tobytes() == untouched[..., rows:, :].tobytes()
    rows = rows or height
    begin = data.draw(st.integers(0, height - rows))
    some = _window((*chain["chunk_shape"][:-2], rows, chain["chunk_shape"][-1]), chain["dtype"], strided=strided)
    decoder.decode_into(chain["encoded"], some, first=begin)
    assert some.tobytes() == expected[..., begin : begin + rows, :].tobytes()


@settings(max_examples=500, deadline=None)
@given(chain=chains(), data=st.data())
def test_rows_that_stay_where_they_are_decoded_equal_the_plain_chains(chain: dict[str, Any], data) -> None:
    """And the encoded bytes remain as they were, also where nothing is compressed."""
    expected = _plain(chain)
    decoder, height = _compiled(chain), chain["chunk_shape"][-2]
    encoded = bytearray(chain["encoded"])
    for _ in range(2):
        rows = data.draw(st.integers(1, height))
        first = data.draw(st.integers(0, height - rows))
        found = decoder.decode_rows(encoded, rows, first=first)
        assert found.dtype == chain["dtype"]
        assert found.shape == (*expected.shape[:-2], rows, expected.shape[-1])
        assert found.tobytes() == expected[..., first : first + rows, :].tobytes()
        assert encoded == chain["encoded"]
    with pytest.raises(CodecError, match="rows"):
        decoder.decode_rows(encoded, height - first + 1, first=first)


@settings(max_examples=150, deadline=None)
@given(chain=chains(), data=st.data())
def test_what_the_plain_chain_refuses_is_refused_and_nothing_else_is_raised(chain: dict[str, Any], data) -> None:
    cut = data.draw(st.integers(0, max(len(chain["encoded"]) - 1, 0)))
    if chain["compressor"] == {"id": "gzip"}:
        return
    out = _window(chain["chunk_shape"], chain["dtype"], strided=False)
    truncated = chain | {"encoded": chain["encoded"][:cut]}
    try:
        _compiled(chain).decode_into(truncated["encoded"], out)
    except CodecError:
        return
    try:
        expected = _plain(truncated)
    except Exception:  # noqa: BLE001 - plain codecs raise what they like
        # Only trailers were missing (check sums, end markers): the pixels are all there.
        expected = _plain(chain)
    assert out.tobytes() == expected.tobytes()


@settings(max_examples=500, deadline=None)
@given(chain=chains(), data=st.data())
def test_a_beginning_gives_the_rows_that_it_holds_or_is_refused(chain: dict[str, Any], data: st.DataObject) -> None:
    """Above all where a short last strip is allowed: a cut stream must not be taken for one."""
    decoder, expected = _compiled(chain), _plain(chain)
    height = chain["chunk_shape"][-2]
    rows = data.draw(st.integers(1, height))
    first = data.draw(st.integers(0, height - rows))
    out = np.empty((*chain["chunk_shape"][:-2], rows, chain["chunk_shape"][-1]), chain["dtype"])
    encoded = chain["encoded"]
    refused = 0
    for cut in range(len(encoded)):
        try:
            decoder.decode_into(encoded[:cut], out, first=first, partial=True)
        except CodecError:
            refused += 1
            with pytest.raises(CodecError):
                decoder.decode_rows(encoded[:cut], rows, first=first, partial=True)
        else:
            assert out.tobytes() == expected[..., first : first + rows, :].tobytes()
            assert decoder.decode_rows(encoded[:cut], rows, first=first, partial=True).tobytes() == out.tobytes()
    held = _row_bytes(chain) * (first + rows)
    if chain["compressor"] is None and decoder.decompress is not None:
        # Stored rows are there as soon as their last byte is.
        assert refused == min(held, len(encoded))
        if len(encoded) == _row_bytes(chain) * height:
            assert decoder.beginning(first + rows, len(encoded), 9.0) == held
    elif chain["compressor"] != {"id": "zlib"}:
        assert refused == len(encoded)
        assert decoder.beginning(first + rows, len(encoded), 2.0) == len(encoded)


def _row_bytes(chain: dict[str, Any]) -> int:
    """Bytes of a stored row, of all samples: every chain's chunk is decoded from whole rows."""
    if chain["filters"]:
        return int(numcodecs.get_codec(chain["filters"][-1]).encoded_row_bytes)
    return int(np.prod(chain["chunk_shape"]) // chain["chunk_shape"][-2] * np.dtype(chain["dtype"]).itemsize)


@pytest.mark.parametrize(
    ("rows", "density", "expected"),
    [(256, 1.0, 250_512), (256, 2.0, 400_512), (512, 1.0, 500_512), (512, 3.0, 750_512), (1023, 8.0, 1_000_000)],
)
def test_a_beginning_is_a_share_of_the_bytes_by_rows_and_density(rows: int, density: float, expected: int) -> None:
    decoder = compile_decoder([], {"id": "zlib"}, "<u2", (1024, 1024))
    assert decoder.beginning(rows, 1_000_000, density) == pytest.approx(expected, abs=1)
    assert decoder.beginning(1024, 1_000_000, density) == 1_000_000


@pytest.mark.parametrize("golden", [golden for golden in GOLDENS if golden.name not in {"fill_order", "lzw"}], ids=str)
def test_golden_chunks_decode_alike(golden) -> None:
    rows, columns, samples = golden.config["shape"]
    if golden.name == "band_first" and golden.decoded.dtype == "|u1" and golden.config["sample_bytes"] == 16:
        pytest.skip("raw memory of 16 bytes a sample")
    interleaved = samples > 1 and golden.name != "band_first"
    chunk = golden.decoded.reshape(
        (samples, rows, columns) if golden.name == "band_first" else (rows, columns, samples)
    )
    expected = chunk.transpose(2, 0, 1) if interleaved else chunk.reshape(samples, rows, columns)
    band_first = _config("band_first", (rows, columns, samples), 0, sample_bytes=golden.decoded.itemsize)
    filters = [band_first] if interleaved else []
    decoder = compile_decoder(filters, golden.config, golden.decoded.dtype, expected.shape)
    out = np.empty(expected.shape, golden.decoded.dtype)
    decoder.decode_into(bytes.fromhex(golden.encoded), out)
    np.testing.assert_array_equal(out, expected)
    first = np.empty((samples, 1, columns), golden.decoded.dtype)
    decoder.decode_into(bytes.fromhex(golden.encoded), first, rows=1)
    np.testing.assert_array_equal(first, expected[:, :1])


def test_only_the_rows_wanted_are_inflated() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (512, 512), dtype=np.uint8)
    encoded = zlib.compress(pixels.tobytes())
    decoder = compile_decoder([], {"id": "zlib"}, "|u1", (512, 512))
    # The second half of the stream is garbage, which nobody reads.
    damaged = encoded[: len(encoded) // 2] + bytes(len(encoded) // 2)
    out = np.zeros((512, 512), np.uint8)
    decoder.decode_into(damaged, out, rows=200)
    np.testing.assert_array_equal(out[:200], pixels[:200])
    with pytest.raises(CodecError, match="zlib"):
        decoder.decode_into(damaged, out)


@pytest.mark.parametrize(
    "compress", [zlib.compress, lzma.compress, imagecodecs.zstd_encode], ids=["zlib", "xz", "zstd"]
)
def test_a_cut_stream_is_no_short_last_strip(compress) -> None:
    """Also where it is cut so that exactly the rows of a short last strip come out."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (64, 64), dtype=np.uint8)
    name = {zlib.compress: "zlib", lzma.compress: "lzma"}.get(compress, "zstd")
    encoded = compress(pixels.tobytes())
    refused = 0
    for short in (1, 20, 63):
        decoder = compile_decoder([_config("pad", (64, 64, 1), short, sample_bytes=1)], {"id": name}, "|u1", (64, 64))
        for cut in range(len(encoded) // 4, len(encoded) - 40, 3):
            with pytest.raises(CodecError):
                decoder.decode_rows(encoded[:cut], 64)
            refused += 1
        whole = compress(pixels[:short].tobytes())
        np.testing.assert_array_equal(decoder.decode_rows(whole, 64), np.r_[pixels[:short], pixels[short:] * 0])
    assert refused > 1000


def test_a_wrong_check_sum_is_an_error_and_a_missing_one_is_not() -> None:
    encoded = zlib.compress(bytes(range(256)))
    decoder = compile_decoder([], {"id": "zlib"}, "|u1", (16, 16))
    out = np.zeros((16, 16), np.uint8)
    with pytest.raises(CodecError, match="damaged"):
        decoder.decode_into(encoded[:-1] + b"\xff", out)
    decoder.decode_into(encoded[:-4], out)
    assert out.tobytes() == bytes(range(256))


def test_excess_after_the_chunk_is_ignored() -> None:
    raw = bytes(range(256)) + b"excess"
    out = np.zeros((16, 16), np.uint8)
    for compressor in COMPRESSORS[:-1]:
        config = {"id": compressor} if compressor else None
        if compressor == "rasteret_refs.lzw":
            config = {"id": compressor, "version": 1, "decoded_bytes": len(raw), "rows": 1}
        encoded = numcodecs.get_codec(config).encode(raw) if config else raw
        compile_decoder([], config, "|u1", (16, 16)).decode_into(encoded, out)
        assert out.tobytes() == raw[:256]


def test_a_middle_strip_with_too_few_rows_is_no_short_last_strip() -> None:
    shape = (8, 4, 1)
    pad = _config("pad", shape, 3, sample_bytes=1)
    decoder = compile_decoder([pad], {"id": "zlib"}, "|u1", (8, 4))
    out = np.zeros((8, 4), np.uint8)
    decoder.decode_into(zlib.compress(bytes(12)), out)
    with pytest.raises(CodecError, match=r"expected 32 bytes for 8 rows or 12 \(last strip\), got 16"):
        decoder.decode_into(zlib.compress(bytes(16)), out)


@pytest.mark.parametrize(
    ("out", "rows", "first"),
    [
        (np.zeros((16, 16), "u2"), None, 0),
        (np.zeros((16, 15), "u1"), None, 0),
        (np.zeros((17, 16), "u1"), None, 0),
        (np.zeros((1, 16, 16), "u1"), None, 0),
        (np.zeros((8, 16), "u1"), 9, 0),
        (np.zeros((16, 16), "u1"), 0, 0),
        (np.zeros(256, "u1"), None, 0),
        (np.zeros((8, 16), "u1"), None, 9),
        (np.zeros((8, 16), "u1"), 4, 13),
        (np.zeros((8, 16), "u1"), None, -1),
    ],
)
def test_outputs_that_do_not_fit_are_refused(out: np.ndarray, rows: int | None, first: int) -> None:
    with pytest.raises(CodecError, match="expected an output"):
        compile_decoder([], None, "|u1", (16, 16)).decode_into(bytes(256), out, rows, first=first)


def test_chunks_beyond_the_limit_or_of_other_dimensions_do_not_compile() -> None:
    with pytest.raises(CodecError, match="at most"):
        compile_decoder([], None, "<f8", (1 << 15, 1 << 15))
    with pytest.raises(CodecError, match="rows, columns"):
        compile_decoder([], None, "<f8", (4,))


def test_equal_chains_share_one_decoder() -> None:
    assert compile_decoder(None, {"id": "zlib", "level": 1}, "u1", (4, 4)) is compile_decoder(
        (), {"level": 1, "id": "zlib"}, np.dtype("u1"), [4, 4]
    )


def test_threads_do_not_disturb_each_other() -> None:
    shape = (64, 64, 1)
    chunks = [np.random.default_rng(seed).integers(0, 9999, shape[:2], dtype="<u2") for seed in range(16)]
    filters = [_config("horizontal_predictor", shape, 0, bits=16)]
    encoded = [zlib.compress(imagecodecs.delta_encode(chunk, axis=1).tobytes()) for chunk in chunks]
    decoder = compile_decoder(filters, {"id": "zlib"}, "<u2", (64, 64))

    def decode(index: int) -> bool:
        out = np.empty((64, 64), "<u2")
        decoder.decode_into(encoded[index % 16], out)
        return bool((out == chunks[index % 16]).all())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(decode, range(400)))
