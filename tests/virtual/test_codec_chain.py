"""Codec chains: which codecs an IFD asks for, and that their pixels are rasterio's and tifffile's."""

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning

from rasteret_refs.errors import TiffError, UnsupportedTiffError
from rasteret_refs.tiff.values import ImageDescription, Planar, Role, SampleFormat
from rasteret_refs.virtual.codec_chain import codec_chain, decoded_bytes, fill_chunk, mask_chain
from rasteret_refs.virtual.values import CodecChain
from rasteret_refs_codecs.fast import compile_decoder
from tests.oracle.chunks import decode_chunk, parse_file, read_image
from tests.oracle.expected import corpus_files, pixel_hash

LARGEST_FILE = 20_000_000
"""Larger files of the corpus take the matrix's time, not this folder's."""
NAMED_REFUSALS = {
    "files/haraldk+TwelveMonkeys/WangJPEG.tif": "old-style JPEG",
    "files/image-rs+image-tiff/off_luv24.tif": "SGILog24",
}
"""The only files that rasterio or tifffile decode, kind good or odd, and we refuse."""


@pytest.fixture(autouse=True)
def nowhere() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def description(**changes: Any) -> ImageDescription:
    """A tiled single-band little-endian uint16 image, Deflate, with changes."""
    default = ImageDescription(
        byte_order="<",
        width=100,
        height=70,
        samples=1,
        bits=16,
        sample_format=SampleFormat.UNSIGNED,
        planar=Planar.CHUNKY,
        photometric=1,
        compression=8,
        tiled=True,
        chunk_width=32,
        chunk_height=16,
        role=Role.IMAGE,
    )
    return replace(default, **changes)


def names(chain: CodecChain) -> list[str]:
    """Codecs in decoding order."""
    configs = [chain.compressor, *reversed(chain.filters)]
    return [config["id"].removeprefix("rasteret_refs.") for config in configs if config]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["zlib"]),
        ({"compression": 32946}, ["zlib"]),
        ({"compression": 50000}, ["zstd"]),
        ({"compression": 34925}, ["lzma"]),
        ({"compression": 5}, ["imagecodecs_lzw", "pad"]),
        ({"compression": 5, "predictor": 2}, ["imagecodecs_lzw", "horizontal_predictor"]),
        ({"compression": 5, "tiled": False, "chunk_width": 100, "chunk_height": 10}, ["lzw", "pad"]),
        ({"compression": 5, "tiled": False, "chunk_width": 100, "fill_order": 2}, ["fill_order", "lzw", "pad"]),
        ({"compression": 1}, []),
        ({"predictor": 2}, ["zlib", "horizontal_predictor"]),
        ({"predictor": 2, "byte_order": ">"}, ["zlib", "horizontal_predictor"]),
        ({"predictor": 2, "compression": 1}, []),
        ({"byte_order": ">"}, ["zlib", "byte_order"]),
        ({"byte_order": ">", "bits": 8}, ["zlib"]),
        ({"tiled": False, "chunk_width": 100}, ["zlib", "pad"]),
        ({"tiled": False, "chunk_width": 100, "chunk_height": 10}, ["zlib"]),
        ({"samples": 3, "predictor": 2}, ["zlib", "horizontal_predictor", "band_first"]),
        ({"samples": 3, "planar": Planar.SEPARATE}, ["zlib"]),
        ({"bits": 12}, ["zlib", "unpack_bits"]),
        ({"fill_order": 2}, ["fill_order", "zlib"]),
        ({"fill_order": 2, "compression": 1}, ["fill_order"]),
        (
            {"bits": 32, "sample_format": SampleFormat.FLOAT, "predictor": 3, "byte_order": ">"},
            ["zlib", "floating_point_predictor"],
        ),
        ({"bits": 32, "sample_format": SampleFormat.COMPLEX_INT}, ["zlib", "complex_int"]),
        ({"bits": 8, "samples": 3, "compression": 7, "photometric": 6}, ["jpeg", "band_first"]),
        ({"bits": 1, "compression": 4, "fill_order": 2}, ["ccitt"]),
        ({"compression": 34887, "lerc_parameters": (4, 1)}, ["lerc"]),
    ],
)
def test_codecs_come_in_the_documented_order(changes: dict[str, Any], expected: list[str]) -> None:
    assert names(codec_chain(description(**changes))) == expected


@pytest.mark.parametrize(
    ("bits", "kind", "dtype"),
    [
        *[(bits, SampleFormat.UNSIGNED, "|u1") for bits in range(1, 9)],
        *[(bits, SampleFormat.UNSIGNED, "<u2") for bits in range(9, 17)],
        *[(bits, SampleFormat.UNSIGNED, "<u4") for bits in range(17, 33)],
        (64, SampleFormat.UNSIGNED, "<u8"),
        (8, SampleFormat.SIGNED, "|i1"),
        (16, SampleFormat.SIGNED, "<i2"),
        (32, SampleFormat.SIGNED, "<i4"),
        (64, SampleFormat.SIGNED, "<i8"),
        (24, SampleFormat.SIGNED, "<u4"),
        (8, SampleFormat.UNDEFINED, "|u1"),
        (16, SampleFormat.FLOAT, "<f2"),
        (24, SampleFormat.FLOAT, "<f4"),
        (32, SampleFormat.FLOAT, "<f4"),
        (64, SampleFormat.FLOAT, "<f8"),
        (64, SampleFormat.COMPLEX_FLOAT, "<c8"),
        (128, SampleFormat.COMPLEX_FLOAT, "<c16"),
        (32, SampleFormat.COMPLEX_INT, "<c8"),
        (64, SampleFormat.COMPLEX_INT, "<c8"),
    ],
)
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_dtypes_are_those_of_rasterio_and_little_endian(
    bits: int, kind: SampleFormat, dtype: str, byte_order: str
) -> None:
    chain = codec_chain(description(bits=bits, sample_format=kind, byte_order=byte_order))
    assert chain.dtype == dtype
    assert decoded_bytes(chain) == 16 * 32 * np.dtype(dtype).itemsize


def test_chunks_have_a_band_axis_where_there_are_several_samples() -> None:
    assert codec_chain(description()).chunk_shape == (16, 32)
    assert codec_chain(description(samples=3)).chunk_shape == (3, 16, 32)
    assert codec_chain(description(samples=3, planar=Planar.SEPARATE)).chunk_shape == (1, 16, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compression": 6}, "old-style JPEG"),
        ({"compression": 34677}, "SGILog24"),
        ({"compression": 34661}, "JBIG"),
        ({"compression": 44510}, "44510 .unknown."),
        ({"bits": 33}, "BitsPerSample .tag 258. is 33"),
        ({"bits": 40}, "BitsPerSample .tag 258. is 40"),
        ({"bits": 8, "sample_format": SampleFormat.FLOAT}, "is 8 for floating point"),
        ({"bits": 32, "sample_format": SampleFormat.COMPLEX_FLOAT}, "is 32 for COMPLEX_FLOAT"),
        ({"bits": 8, "samples": 3, "photometric": 6}, "YCbCr"),
        ({"bits": 16, "compression": 7}, "JPEG.*16 bits"),
        ({"bits": 8, "samples": 3, "compression": 7, "photometric": 6, "planar": Planar.SEPARATE}, "three chunky"),
        ({"bits": 64, "compression": 34887, "lerc_parameters": (4, 0)}, "LERC"),
        ({"compression": 34887}, "LercParameters"),
        ({"bits": 8, "compression": 50001}, "WebP"),
        ({"bits": 32, "compression": 50002}, "JPEG XL"),
        ({"bits": 16, "compression": 50002, "byte_order": ">"}, "JPEG XL"),
        ({"bits": 8, "compression": 4}, "CCITT Group 4"),
        ({"bits": 1, "samples": 3, "compression": 3}, "CCITT Group 3"),
        ({"bits": 8, "compression": 32809}, "ThunderScan"),
        ({"bits": 8, "compression": 32766}, "NeXT"),
    ],
)
def test_what_cannot_be_read_exactly_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UnsupportedTiffError, match=message):
        codec_chain(description(**changes))


def test_every_configuration_is_one_that_the_registry_knows() -> None:
    for compression in (1, 5, 8, 32773, 34925, 50000):
        for config in codec_chain(description(compression=compression, samples=3, predictor=2)).filters:
            assert numcodecs.get_codec(dict(config)).get_config() == config


OPTIONS = {
    "deflate, predictor 2, big-endian tiles": ("uint16", 2, {"compress": "deflate", "predictor": 2, "tiled": True}),
    "zstd, predictor 3, chunky": ("float32", 3, {"compress": "zstd", "predictor": 3, "tiled": True}),
    "lzw, predictor 3, strips": ("float64", 1, {"compress": "lzw", "predictor": 3, "blockysize": 7}),
    "lzma, strips": ("int32", 2, {"compress": "lzma", "blockysize": 7}),
    "packbits, strips": ("int8", 1, {"compress": "packbits", "blockysize": 7}),
    "none, strips": ("complex64", 2, {"blockysize": 7}),
    "none, tiles": ("complex_int16", 2, {"tiled": True}),
    "1 bit": ("uint8", 1, {"nbits": 1, "compress": "deflate", "blockysize": 7}),
    "5 bits, chunky": ("uint8", 3, {"nbits": 5, "blockysize": 7}),
    "12 bits": ("uint16", 1, {"nbits": 12, "compress": "lzw", "tiled": True}),
    "24 bits": ("uint32", 1, {"nbits": 24, "blockysize": 7}),
    "31 bits": ("uint32", 2, {"nbits": 31, "compress": "zstd", "tiled": True}),
    "16-bit float": ("float32", 1, {"nbits": 16, "compress": "deflate", "blockysize": 7}),
    "jpeg, grey strips": ("uint8", 1, {"compress": "jpeg", "blockysize": 8}),
    "jpeg, YCbCr tiles": ("uint8", 3, {"compress": "jpeg", "photometric": "ycbcr", "tiled": True}),
    "jpeg, YCbCr strips": ("uint8", 3, {"compress": "jpeg", "photometric": "ycbcr", "blockysize": 16}),
    "jpeg, RGB": ("uint8", 3, {"compress": "jpeg", "photometric": "rgb", "tiled": True}),
    "jpeg, three greys": ("uint8", 3, {"compress": "jpeg", "tiled": True}),
    "jpeg, CMYK": ("uint8", 4, {"compress": "jpeg", "photometric": "cmyk", "tiled": True}),
    "jpeg, two bands": ("uint8", 2, {"compress": "jpeg", "tiled": True}),
    "jpeg, 12 bits, YCbCr": (
        "uint16",
        3,
        {"compress": "jpeg", "nbits": 12, "photometric": "ycbcr", "tiled": True},
    ),
    "jpeg, 12 bits": ("uint16", 1, {"compress": "jpeg", "nbits": 12, "tiled": True}),
    "lerc": ("float32", 1, {"compress": "lerc", "blockysize": 7}),
    "lerc, lossy": ("float64", 1, {"compress": "lerc", "max_z_error": 0.1, "tiled": True}),
    "lerc, deflate, chunky": ("int16", 3, {"compress": "lerc_deflate", "tiled": True}),
    "lerc, zstd": ("float32", 2, {"compress": "lerc_zstd", "tiled": True}),
    "webp": ("uint8", 3, {"compress": "webp", "tiled": True}),
    "webp, lossless, strips": ("uint8", 4, {"compress": "webp", "webp_lossless": True, "blockysize": 7}),
    "ccitt rle": ("uint8", 1, {"compress": "ccittrle", "nbits": 1, "blockysize": 7}),
    "ccitt group 3": ("uint8", 1, {"compress": "ccittfax3", "nbits": 1, "blockysize": 7}),
    "ccitt group 4": ("uint8", 1, {"compress": "ccittfax4", "nbits": 1, "tiled": True}),
}


def _values(dtype: str, bands: int, options: dict[str, Any]) -> np.ndarray:
    random = np.random.default_rng(bands)
    shape = (bands, 45, 62)
    if dtype.startswith("complex"):
        parts = np.rint(random.normal(size=(2, *shape)) * 100)
        return (parts[0] + 1j * parts[1]).astype("c8")
    if dtype.startswith("float"):
        values = random.normal(size=shape).astype(dtype)
        if "max_z_error" not in options:
            values[:, ::5, ::3] = np.nan
        return values
    high = 1 << options.get("nbits", 7)
    return random.integers(0, high, shape).astype(dtype)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("interleave", ["pixel", "band"])
@pytest.mark.parametrize("endianness", ["LITTLE", "BIG"])
def test_pixels_equal_rasterios(options: tuple, interleave: str, endianness: str, tmp_path: Path) -> None:
    dtype, bands, creation = options
    chunky_only = creation.get("photometric") == "ycbcr" or creation.get("compress") == "webp"
    if chunky_only and interleave == "band":
        pytest.skip("GDAL writes these chunky only")
    path = tmp_path / "image.tif"
    block = {"blockxsize": 32, "blockysize": 16} if creation.get("tiled") else {}
    values = _values(dtype, bands, creation)
    profile = {"driver": "GTiff", "width": 62, "height": 45, "count": bands, "dtype": dtype, "interleave": interleave}
    with rasterio.open(path, "w", **profile, endianness=endianness, **block, **creation) as file:
        file.write(values)
    image = parse_file(path).images[0]
    with rasterio.open(f"GTIFF_RAW:{path}") as file:
        expected = file.read()
    found = read_image(path, image)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    _check_fast(path)
    _check_fill(codec_chain(image.description))


def _check_fast(path: Path) -> None:
    """The compiled decoder gives the plain chain's pixels, whole and in part."""
    image = parse_file(path).images[0]
    chain, data = codec_chain(image.description), path.read_bytes()
    decoder = compile_decoder(chain.filters, chain.compressor, chain.dtype, chain.chunk_shape)
    for offset, count in zip(image.offsets, image.byte_counts, strict=True):
        encoded = data[offset : offset + count]
        plain = decode_chunk(chain, encoded)
        for rows in (None, 1, chain.chunk_shape[-2] // 2):
            out = np.empty(chain.chunk_shape, chain.dtype)
            decoder.decode_into(encoded, out, rows)
            assert out[..., :rows, :].tobytes() == plain[..., :rows, :].tobytes()
        height = chain.chunk_shape[-2]
        for first in {min(3, height - 1), height - 1}:
            below = np.empty((*plain.shape[:-2], height - first, plain.shape[-1]), chain.dtype)
            decoder.decode_into(encoded, below, first=first)
            assert below.tobytes() == plain[..., first:, :].tobytes()


def _check_fill(chain: CodecChain) -> None:
    for value in (0, 1):
        encoded = fill_chunk(chain, value)
        assert (decode_chunk(chain, encoded) == value).all()
        out = np.full(chain.chunk_shape, 9, chain.dtype)
        compile_decoder(chain.filters, chain.compressor, chain.dtype, chain.chunk_shape).decode_into(encoded, out)
        assert (out == value).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "float32"])
@pytest.mark.parametrize("samples", [1, 3])
def test_jpeg_xl_equals_tifffile(dtype: str, samples: int, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    shape = (45, 62) if samples == 1 else (45, 62, samples)
    values = np.random.default_rng(0).integers(0, 200, shape).astype(dtype) / np.dtype(dtype).type(1)
    photometric = "minisblack" if samples == 1 else "rgb"
    tifffile.imwrite(path, values.astype(dtype), tile=(16, 32), compression="jpegxl", photometric=photometric)
    found = read_image(path, parse_file(path).images[0])
    expected = tifffile.imread(path).reshape(45, 62, samples).transpose(2, 0, 1)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_jpeg_2000_equals_tifffile(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    values = np.random.default_rng(0).integers(0, 200, (45, 62, 3)).astype(dtype)
    tifffile.imwrite(path, values, tile=(16, 32), compression="jpeg2000", photometric="rgb")
    found = read_image(path, parse_file(path).images[0])
    np.testing.assert_array_equal(found, tifffile.imread(path).transpose(2, 0, 1))


@pytest.mark.parametrize("byte_order", ["<", ">"])
@pytest.mark.parametrize("compression", ["zlib", "lzw", "zstd", "packbits", "lzma", None])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiffs_of_tifffile_equal_tifffile(
    byte_order: str, compression: str | None, planar: str, tmp_path: Path
) -> None:
    path = tmp_path / "image.tif"
    shape = (45, 62, 3) if planar == "contig" else (3, 45, 62)
    values = np.random.default_rng(0).integers(0, 60000, shape).astype("u2")
    predictor = compression in {"zlib", "lzw", "zstd", "lzma"}
    tifffile.imwrite(
        path,
        values,
        byteorder=byte_order,
        compression=compression,
        predictor=predictor,
        planarconfig=planar,
        photometric="rgb",
        rowsperstrip=8,
        bigtiff=True,
    )
    expected = values.transpose(2, 0, 1) if planar == "contig" else values
    np.testing.assert_array_equal(read_image(path, parse_file(path).images[0]), expected)


@pytest.mark.parametrize("compress", ["deflate", "lzw", "none"])
def test_masks_equal_rasterios(compress: str, tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    mask = np.random.default_rng(0).integers(0, 2, (45, 62)).astype(bool)
    profile = {"driver": "GTiff", "width": 62, "height": 45, "count": 1, "dtype": "uint8", "compress": compress}
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile, blockysize=7) as file:
        file.write(np.ones((1, 45, 62), "u1"))
        file.write_mask(mask)
    image = next(image for image in parse_file(path).images if image.description.role is Role.MASK)
    chain = mask_chain(image.description)
    assert chain.dtype == "|u1"
    found = _read_mask(path, chain, image)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(found, file.dataset_mask())
    for value in (0, 255):
        assert (decode_chunk(chain, fill_chunk(chain, value)) == value).all()


def _read_mask(path: Path, chain: CodecChain, image: Any) -> np.ndarray:
    data, rows = path.read_bytes(), []
    for offset, count in zip(image.offsets, image.byte_counts, strict=True):
        rows.append(decode_chunk(chain, data[offset : offset + count]))
    return np.concatenate(rows)[: image.description.height, : image.description.width]


def test_masks_of_other_kinds_are_refused() -> None:
    with pytest.raises(UnsupportedTiffError, match="mask: expected one sample"):
        mask_chain(description(bits=16, role=Role.MASK))
    with pytest.raises(UnsupportedTiffError, match=r"mask.*CCITT"):
        mask_chain(description(bits=1, compression=4, role=Role.MASK))


@pytest.mark.parametrize(
    ("dtype_changes", "value"),
    [
        ({"bits": 8}, 256),
        ({"bits": 8}, -9999),
        ({"bits": 64}, 1 << 70),
        ({"bits": 8}, 0.5),
        ({"bits": 8}, float("nan")),
        ({"bits": 4}, 16),
        ({"bits": 16, "sample_format": SampleFormat.FLOAT}, 1e9),
    ],
)
def test_values_that_samples_cannot_hold_make_no_chunk(dtype_changes: dict[str, Any], value: float) -> None:
    with pytest.raises(ValueError, match=r"cannot hold|expected values below"):
        fill_chunk(codec_chain(description(**dtype_changes)), value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -3.4028234663852886e38, -9999])
@pytest.mark.parametrize("predictor", [1, 2, 3])
def test_fill_chunks_hold_every_float(value: float, predictor: int) -> None:
    chain = codec_chain(description(bits=32, sample_format=SampleFormat.FLOAT, predictor=predictor, byte_order=">"))
    decoded = decode_chunk(chain, fill_chunk(chain, value))
    np.testing.assert_array_equal(decoded, np.full((16, 32), value, "f4"))


def test_fill_chunks_hold_integers_beyond_two_to_the_53() -> None:
    chain = codec_chain(description(bits=64, predictor=2))
    assert (decode_chunk(chain, fill_chunk(chain, (1 << 64) - 1)) == np.uint64((1 << 64) - 1)).all()


def test_short_tiles_of_packbits_writers_are_read(corpus: Path) -> None:
    path = corpus / "files/rouault+gdal/separate_tiled.tif"
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(read_image(path, parse_file(path).images[0]), file.read())


@pytest.mark.slow
def test_the_corpus_decodes_to_its_expected_pixels(corpus: Path) -> None:
    wrong, refused = [], {}
    for file in corpus_files(corpus):
        path = corpus / file.path
        if file.kind == "corrupt" or path.stat().st_size > LARGEST_FILE or "sparse" in file.path:
            continue
        for expected in file.images:
            try:
                images = [one for one in parse_file(path).images if one.ifd_offset == expected.ifd_offset]
                found = pixel_hash(read_image(path, images[0]))
            except TiffError as error:
                refused[file.path] = str(error)
                continue
            raw = file_hashes(corpus, expected.path, expected.ifd_index)
            if found[1] not in {sha for _, sha in expected.truths} | raw:
                wrong.append((file.path, expected.ifd_index))
    assert wrong == []
    assert refused.keys() == NAMED_REFUSALS.keys()
    assert all(reason in refused[path] for path, reason in NAMED_REFUSALS.items())


def file_hashes(corpus: Path, path: str, ifd_index: int) -> set[str]:
    """Hash of what rasterio reads as `GTIFF_RAW:` (CMYK stays CMYK), where that differs."""
    import csv

    with (corpus / "expected.csv").open(newline="") as table:
        rows = csv.DictReader(table)
        return {
            row["sha256_rasterio_raw"]
            for row in rows
            if row["path"] == path and int(row["ifd_index"]) == ifd_index and row["sha256_rasterio_raw"]
        }
