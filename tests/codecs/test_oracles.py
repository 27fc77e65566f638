"""Row codecs against libraries that decode the same things: imagecodecs' own predictors and NumPy."""

import tempfile
from pathlib import Path

import imagecodecs
import numcodecs
import numpy as np
import pytest
import rasterio
import tifffile

from rasteret_refs_codecs.base import CodecError
from rasteret_refs_codecs.fast import compile_decoder

SIZES = [(1, 1, 1), (7, 5, 1), (16, 33, 3), (3, 8, 13), (64, 64, 4)]


def _codec(name: str, **options: object) -> numcodecs.abc.Codec:
    return numcodecs.get_codec({"id": f"rasteret_refs.{name}", "version": 1, **options})


def _values(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    random = np.random.default_rng(sum(shape))
    return np.frombuffer(random.bytes(int(np.prod(shape)) * np.dtype(dtype).itemsize), dtype).reshape(shape)


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("bits", [8, 16, 32, 64])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_horizontal_predictor_equals_imagecodecs(shape: tuple[int, int, int], bits: int, byte_order: str) -> None:
    values = _values(shape, f"<u{bits // 8}")
    encoded = imagecodecs.delta_encode(values, axis=1).astype(f"{byte_order}u{bits // 8}").tobytes()
    codec = _codec("horizontal_predictor", shape=shape, bits=bits, byte_order=byte_order)
    assert codec.decode(encoded).tobytes() == values.tobytes()
    assert codec.encode(values).tobytes() == encoded


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("bits", [16, 32, 64])
def test_floating_point_predictor_equals_imagecodecs(shape: tuple[int, int, int], bits: int) -> None:
    values = _values(shape, f"<f{bits // 8}")
    encoded = np.asarray(imagecodecs.floatpred_encode(values.copy(), axis=1)).tobytes()
    codec = _codec("floating_point_predictor", shape=shape, bits=bits)
    assert codec.decode(encoded).tobytes() == values.tobytes()
    assert codec.encode(values).tobytes() == encoded


@pytest.mark.parametrize("shape", [*SIZES, (600, 900, 1), (300, 400, 3)])
def test_floating_point_predictor_works_in_blocks_of_rows_as_in_one(shape: tuple[int, int, int]) -> None:
    values = _values(shape, "<f8")
    encoded = np.asarray(imagecodecs.floatpred_encode(values.copy(), axis=1)).tobytes()
    assert _codec("floating_point_predictor", shape=shape, bits=64).decode(encoded).tobytes() == values.tobytes()


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("bits", [bits for bits in range(1, 32) if bits not in {8, 16}])
def test_unpacking_equals_imagecodecs(shape: tuple[int, int, int], bits: int) -> None:
    container = "u1" if bits < 8 else "<u2" if bits < 16 else "<u4"
    values = _values(shape, container) & np.dtype(container).type((1 << bits) - 1)
    codec = _codec("unpack_bits", shape=shape, bits=bits, byte_order=">")
    encoded = codec.encode(values)
    assert encoded.size == shape[0] * -(-shape[1] * shape[2] * bits // 8)
    runs = shape[1] * shape[2]
    np.testing.assert_array_equal(
        np.asarray(imagecodecs.packints_decode(encoded.tobytes(), container, bits, runlen=runs)).reshape(shape), values
    )
    assert codec.decode(encoded).tobytes() == values.tobytes()


def test_all_24_bit_floats_equal_the_standards_formula() -> None:
    words = np.arange(1 << 24, dtype="<u4")
    encoded = words.view("u1").reshape(-1, 4)[:, :3].tobytes()
    decoded = _codec("unpack_bits", shape=(4096, 4096, 1), bits=24, sample_format="float").decode(encoded).view("<f4")
    sign = np.where(words >> 23, -1.0, 1.0)
    exponent = ((words >> 16) & 127).astype(int)
    mantissa = (words & 0xFFFF) / 65536
    numbers = sign * np.where(exponent == 0, mantissa * 2.0**-62, (1 + mantissa) * 2.0 ** (exponent - 63))
    finite = exponent < 127
    np.testing.assert_array_equal(decoded[finite].astype("f8"), numbers[finite])
    np.testing.assert_array_equal(np.signbit(decoded[finite]), sign[finite] < 0)
    infinite = (exponent == 127) & (mantissa == 0)
    np.testing.assert_array_equal(decoded[infinite], [np.inf, -np.inf])
    assert np.isnan(decoded[(exponent == 127) & (mantissa > 0)]).all()


def test_values_that_do_not_fit_are_not_encoded() -> None:
    with pytest.raises(ValueError, match="24-bit float holds exactly"):
        _codec("unpack_bits", shape=(1, 1, 1), bits=24, sample_format="float").encode(np.array([0.1], "<f4"))
    with pytest.raises(ValueError, match=r"below 2\*\*3, got 8"):
        _codec("unpack_bits", shape=(1, 1, 1), bits=3).encode(np.array([8], "u1"))
    with pytest.raises(ValueError, match="integers of 16 bits"):
        _codec("complex_int", shape=(1, 1, 1), bits=16).encode(np.array([0.5j], "<c8"))
    with pytest.raises(ValueError, match="mask of 0 and 255"):
        _codec("mask_bits", shape=(1, 1, 1)).encode(np.array([1], "u1"))
    with pytest.raises(ValueError, match="expected 1 bytes to encode, got 2"):
        _codec("band_first", shape=(1, 1, 1), sample_bytes=1).encode(bytes(2))


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("parts", [1, 2])
def test_byte_order_equals_numpys(bits: int, parts: int) -> None:
    if (bits, parts) == (16, 2):
        with pytest.raises(ValueError, match="parts"):
            _codec("byte_order", shape=(4, 5, 3), bits=bits, parts=parts)
        return
    values = _values((4, 5, 3 * parts), f"<u{bits // 8}")
    codec = _codec("byte_order", shape=(4, 5, 3), bits=bits, parts=parts)
    assert codec.decode(values.byteswap().tobytes()).tobytes() == values.tobytes()


@pytest.mark.parametrize("sample_bytes", [1, 2, 4, 8, 16])
def test_band_first_equals_numpys_transpose(sample_bytes: int) -> None:
    values = _values((6, 7, 5, sample_bytes), "u1")
    decoded = _codec("band_first", shape=(6, 7, 5), sample_bytes=sample_bytes).decode(values)
    np.testing.assert_array_equal(decoded.reshape(5, 6, 7, sample_bytes), values.transpose(2, 0, 1, 3))


def test_bytes_beyond_a_whole_chunk_are_ignored_as_libtiff_does() -> None:
    codec = _codec("byte_order", shape=(2, 2, 1), bits=16)
    assert codec.decode(bytes.fromhex("0001000200030004") + b"excess").view("<u2").tolist() == [1, 2, 3, 4]


def test_a_few_bytes_beyond_a_short_last_strip_are_ignored_but_no_row() -> None:
    codec = _codec("pad", shape=(4, 10, 1), short_rows=2, sample_bytes=1)
    strip = bytes(range(20))
    for excess in (0, 1, 7):
        assert codec.decode(strip + b"x" * excess).tobytes() == strip + bytes(20)
    with pytest.raises(ValueError, match=r"expected 40 bytes for 4 rows or 20 \(last strip\), got 30"):
        codec.decode(strip + b"x" * 10)


@pytest.mark.parametrize("short_rows", [0, 1])
@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 7, 8, 11, 12, 13, 40])
def test_lzw_gives_whole_chunks_or_short_last_strips_and_nothing_between(size: int, short_rows: int) -> None:
    strip = bytes(range(size))
    stream = imagecodecs.lzw_encode(strip)
    codec = _codec("lzw", decoded_bytes=12, rows=3, short_rows=short_rows)
    pad = {"id": "rasteret_refs.pad", "shape": [3, 4, 1], "short_rows": short_rows, "sample_bytes": 1}
    decoder = compile_decoder([pad], codec.get_config(), "|u1", (3, 4))
    out = np.full((3, 4), 99, np.uint8)
    kept = 12 if size >= 12 else 4 if short_rows and 4 <= size < 8 else 0
    if kept:
        assert codec.decode(stream).tobytes() == strip[:kept]
        decoder.decode_into(stream, out)
        assert out.tobytes() == strip[:kept] + bytes(12 - kept)
    else:
        with pytest.raises(CodecError, match="the stream ends early"):
            codec.decode(stream)
        with pytest.raises(CodecError, match="expected 12 bytes for 3 rows"):
            decoder.decode_into(stream, out)


def test_lzw_of_sets_that_do_not_count_its_rows_leaves_that_to_what_follows() -> None:
    codec = _codec("lzw", decoded_bytes=12)
    for size in (1, 4, 12):
        assert codec.decode(imagecodecs.lzw_encode(bytes(range(size)))).tobytes() == bytes(range(size))
    with pytest.raises(CodecError, match="empty"):
        codec.decode(imagecodecs.lzw_encode(b""))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_damaged_group_4_rows_raise_where_libtiff_only_warns() -> None:
    random = np.random.default_rng(5)
    pixels = (random.random((64, 200)) < 0.2).astype(np.uint8)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "g4.tif"
        with rasterio.open(
            path, "w", driver="GTiff", height=64, width=200, count=1, dtype="uint8", NBITS=1, compress="CCITTFAX4",
            BLOCKYSIZE=64, photometric="MINISWHITE",
        ) as file:  # fmt: skip
            file.write(pixels, 1)
        with tifffile.TiffFile(path) as file:
            start, size = file.pages.first.dataoffsets[0], file.pages.first.databytecounts[0]
        strip = path.read_bytes()[start : start + size]
    codec = _codec("ccitt", shape=(64, 200, 1), scheme="group4")
    assert np.array_equal(codec.decode(strip).reshape(64, 200), pixels)
    outcomes = set()
    for at in range(10, len(strip) - 10, 7):
        damaged = strip[:at] + bytes([strip[at] ^ 0x10]) + strip[at + 1 :]
        try:
            codec.decode(damaged)
            outcomes.add("read")
        except ValueError:
            outcomes.add("raised")
    assert "raised" in outcomes


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_jpeg_strips_may_be_short_only_where_the_last_one_is(rows: int) -> None:
    pixels = np.full((rows, 16), 50, np.uint8)
    encoded = imagecodecs.jpeg8_encode(pixels)
    codec = _codec("jpeg", shape=(8, 16, 1), short_rows=1)
    if rows <= 2:  # one row too many, as libtiff allows
        decoded = codec.decode(encoded).reshape(8, 16)
        assert (decoded[0] == 50).all()
        assert not decoded[1:].any()
    else:
        with pytest.raises(ValueError, match=r"8 rows.*shape=\(3, 16\)"):
            codec.decode(encoded)
