"""Golden bytes of every codec, none made by the codec itself: where each pair comes from stands beside it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

_NAN = float("nan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """An encoded chunk and what it decodes to."""

    name: str
    """Of the codec, without `rasteret_refs.`."""
    options: dict[str, Any]
    encoded: str
    """Hexadecimal."""
    decoded: npt.NDArray[Any]
    """In the decoded dtype; little-endian."""
    source: str
    """Who made `encoded`."""
    lossless: bool = True
    """Whether encoding `decoded` gives `encoded` again."""

    @property
    def config(self) -> dict[str, Any]:
        """The numcodecs configuration."""
        return {"id": f"rasteret_refs.{self.name}", "version": 1, **self.options}

    def __str__(self) -> str:
        return f"{self.name} {' '.join(str(value) for value in self.options.values())}"


def _row(values: list[Any], dtype: str) -> npt.NDArray[Any]:
    return np.array(values, dtype)


_JPEG_TABLES = (  # quantization table 0 at quality 75, as GDAL wrote it to tag 347
    "/9j/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/2Q=="
)

GOLDENS = (
    Golden(
        name="horizontal_predictor",
        options={"shape": [1, 6, 1], "bits": 16},
        encoded="01000200fffffa0006ffffff",
        decoded=_row([1, 3, 2, 252, 2, 1], "<u2"),
        source="by hand: differences 1, 2, -1, 250, -250, -1",
    ),
    Golden(
        name="horizontal_predictor",
        options={"shape": [1, 6, 1], "bits": 16, "byte_order": ">"},
        encoded="00010002ffff00faff06ffff",
        decoded=_row([1, 3, 2, 252, 2, 1], "<u2"),
        source="by hand: the same, most significant byte first",
    ),
    Golden(
        name="horizontal_predictor",
        options={"shape": [2, 3, 2], "bits": 8},
        encoded="010a0214fff60532fbce0746",
        decoded=_row([1, 10, 3, 30, 2, 20, 5, 50, 0, 0, 7, 70], "|u1"),
        source="GDAL, DEFLATE with PREDICTOR=2, two interleaved bands, inflated",
    ),
    Golden(
        name="horizontal_predictor",
        options={"shape": [2, 2, 1], "bits": 32},
        encoded="ffffffff02000000 0500000000000080",
        decoded=_row([0xFFFFFFFF, 1, 5, 0x80000005], "<u4"),
        source="by hand: sums wrap, and start anew on each row",
    ),
    Golden(
        name="horizontal_predictor",
        options={"shape": [1, 2, 1], "bits": 64, "byte_order": ">"},
        encoded="8000000000000000 8000000000000001",
        decoded=_row([1 << 63, 1], "<u8"),
        source="by hand: sums wrap",
    ),
    Golden(
        name="floating_point_predictor",
        options={"shape": [1, 3, 1], "bits": 32},
        encoded="3f817e824080800000000000",
        decoded=_row([1.5, -2.0, 0.25], "<f4"),
        source="GDAL, DEFLATE with PREDICTOR=3, inflated",
    ),
    Golden(
        name="floating_point_predictor",
        options={"shape": [1, 3, 2], "bits": 32},
        encoded="3f4081007e00820040408020806000000000000000000000",
        decoded=_row([1.5, 3, -2, 4, 0.25, 5], "<f4"),
        source="GDAL, two interleaved bands, inflated",
    ),
    Golden(
        name="floating_point_predictor",
        options={"shape": [1, 3, 1], "bits": 64},
        encoded="3f817fb908d0300000000000000000000000000000000000",
        decoded=_row([1.5, -2.0, 0.25], "<f8"),
        source="GDAL, inflated",
    ),
    Golden(
        name="floating_point_predictor",
        options={"shape": [1, 3, 1], "bits": 16},
        encoded="3e8274cc0000",
        decoded=_row([1.5, -2.0, 0.25], "<f2"),
        source="by hand: 3E00, C000, 3400 in planes, then differences",
    ),
    Golden(
        name="floating_point_predictor",
        options={"shape": [1, 3, 1], "bits": 24},
        encoded="3f817d438000000000",
        decoded=_row([1.5, -2.0, 0.25], "<f4"),
        source="by hand: 3F8000, C00000, 3D0000 in planes, then differences",
    ),
    Golden(
        name="unpack_bits",
        options={"shape": [2, 3, 1], "bits": 1},
        encoded="a060",
        decoded=_row([1, 0, 1, 0, 1, 1], "|u1"),
        source="GDAL, NBITS=1",
    ),
    Golden(
        name="unpack_bits",
        options={"shape": [2, 3, 1], "bits": 3},
        encoded="23800480",
        decoded=_row([1, 0, 7, 0, 1, 1], "|u1"),
        source="GDAL, NBITS=3",
    ),
    Golden(
        name="unpack_bits",
        options={"shape": [2, 3, 1], "bits": 12},
        encoded="001000fff00000010010",
        decoded=_row([1, 0, 4095, 0, 1, 1], "<u2"),
        source="GDAL, NBITS=12",
    ),
    Golden(
        name="unpack_bits",
        options={"shape": [2, 3, 1], "bits": 17},
        encoded="000080003fffe000000000400020",
        decoded=_row([1, 0, 131071, 0, 1, 1], "<u4"),
        source="GDAL, NBITS=17",
    ),
    Golden(
        name="unpack_bits",
        options={"shape": [2, 3, 1], "bits": 24, "byte_order": ">"},
        encoded="000001000000ffffff000000000001000001",
        decoded=_row([1, 0, 16777215, 0, 1, 1], "<u4"),
        source="GDAL, NBITS=24 in a little-endian file",
    ),
    Golden(
        name="unpack_bits",
        options={"shape": [2, 3, 1], "bits": 31},
        encoded="0000000200000003fffffff8000000000000000400000008",
        decoded=_row([1, 0, (1 << 31) - 1, 0, 1, 1], "<u4"),
        source="GDAL, NBITS=31",
    ),
    Golden(
        name="unpack_bits",
        options={"shape": [1, 5, 1], "bits": 24, "sample_format": "float", "byte_order": "<"},
        encoded="00803f 0000c0 00003d 00007f 000080",
        decoded=_row([1.5, -2.0, 0.25, float("inf"), -0.0], "<f4"),
        source="by hand: 1 bit of sign, 7 of exponent with bias 63, 16 of mantissa",
    ),
    Golden(
        name="mask_bits",
        options={"shape": [2, 3, 1]},
        encoded="a060",
        decoded=_row([255, 0, 255, 0, 255, 255], "|u1"),
        source="GDAL, NBITS=1; by hand: 255 where a bit is set",
    ),
    Golden(
        name="byte_order",
        options={"shape": [1, 2, 1], "bits": 16},
        encoded="0102fffe",
        decoded=_row([258, 65534], "<u2"),
        source="by hand",
    ),
    Golden(
        name="byte_order",
        options={"shape": [1, 1, 1], "bits": 32, "parts": 2},
        encoded="3f800000c0000000",
        decoded=_row([1 - 2j], "<c8"),
        source="by hand: IEEE 754 parts 3F800000 and C0000000",
    ),
    Golden(
        name="pad",
        options={"shape": [3, 2, 1], "short_rows": 1, "sample_bytes": 2},
        encoded="01000200",
        decoded=_row([1, 2, 0, 0, 0, 0], "<u2"),
        source="by hand",
        lossless=False,
    ),
    Golden(
        name="band_first",
        options={"shape": [1, 2, 3], "sample_bytes": 1},
        encoded="010203040506",
        decoded=_row([1, 4, 2, 5, 3, 6], "|u1"),
        source="by hand",
    ),
    Golden(
        name="band_first",
        options={"shape": [2, 1, 2], "sample_bytes": 16},
        encoded="".join(f"{value:02x}" * 16 for value in (1, 2, 3, 4)),
        decoded=np.repeat(np.array([1, 3, 2, 4], "|u1"), 16),
        source="by hand",
    ),
    Golden(
        name="complex_int",
        options={"shape": [1, 2, 1], "bits": 16},
        encoded="01000200fdfffcff",
        decoded=_row([1 + 2j, -3 - 4j], "<c8"),
        source="GDAL, CInt16",
    ),
    Golden(
        name="complex_int",
        options={"shape": [1, 2, 1], "bits": 16, "byte_order": ">"},
        encoded="00010002fffdfffc",
        decoded=_row([1 + 2j, -3 - 4j], "<c8"),
        source="GDAL, CInt16 with ENDIANNESS=BIG",
    ),
    Golden(
        name="fill_order",
        options={},
        encoded="018055f0",
        decoded=_row([0x80, 0x01, 0xAA, 0x0F], "|u1"),
        source="by hand",
    ),
    Golden(
        name="jpeg",
        options={"shape": [8, 8, 1], "tables": _JPEG_TABLES},
        encoded=(
            "ffd8ffc0000b080008000801011100ffc40014000100000000000000000000000000000006"
            "ffc40014100100000000000000000000000000000000ffda0008010100003f0018ffd9"
        ),
        decoded=np.full(64, 77, "|u1"),
        source="GDAL, COMPRESS=JPEG, JPEGTABLESMODE=1, all pixels 77",
        lossless=False,
    ),
    Golden(
        name="lerc",
        options={"shape": [2, 2, 1], "dtype": "<f4"},
        encoded=(
            "4c657263322004000000417f13d602000000020000000100000004000000080000005f0000000600000000000000000000000000"
            "000000000000000000000000084000000000000000000000404001000000000000803f0000004000004040"
        ),
        decoded=_row([0, 1, 2, 3], "<f4"),
        source="GDAL, COMPRESS=LERC",
        lossless=False,
    ),
    Golden(
        name="lerc",
        options={"shape": [2, 2, 1], "dtype": "<f4"},
        encoded=(
            "4c657263322004000000034426d702000000020000000100000003000000080000006000000006000000000000000000000000"
            "000000000000000000000000000840050000000100bf0080000000000000404001000000000000004000004040"
        ),
        decoded=_row([0, _NAN, 2, 3], "<f4"),
        source="GDAL, COMPRESS=LERC, one pixel NaN: masked inside the blob",
        lossless=False,
    ),
    Golden(
        name="webp",
        options={"shape": [2, 2, 3]},
        encoded=(
            "524946462a000000574542505650384c1e0000002f014000001f4020698bb7fd13b008f31fb73106640394a9c22ca2ffb103"
        ),
        decoded=_row([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11], "|u1"),
        source="GDAL, COMPRESS=WEBP, WEBP_LOSSLESS=YES",
        lossless=False,
    ),
    Golden(
        name="jpegxl",
        options={"shape": [2, 2, 1], "dtype": "|u1"},
        encoded="ff0a0810101437020800010024004b188b15c298f2c400",
        decoded=_row([0, 1, 2, 3], "|u1"),
        source="libjxl, lossless",
        lossless=False,
    ),
    Golden(
        name="jpeg2000",
        options={"shape": [2, 2, 1], "dtype": "|u1"},
        encoded=(
            "ff4fff510029000000000002000000020000000000000000000000020000000200000000000000000001070101"
            "ff52000c00000001000004040001ff5c00044040ff640025000143726561746564206279204f70656e4a5045472076657273696f6e"
            "20322e352e34ff90000a0000000000170001ff93df80300781575937a7ffd9"
        ),
        decoded=_row([0, 1, 2, 3], "|u1"),
        source="OpenJPEG, reversible",
        lossless=False,
    ),
    Golden(
        name="lzw",
        options={"decoded_bytes": 3, "rows": 1},
        encoded="8001c0e08808",
        decoded=_row([7, 7, 8], "|u1"),
        source="by hand (TIFF 6.0 section 13): the 9-bit codes clear, 7, 7, 8, end",
    ),
    Golden(
        name="lzw",
        options={"decoded_bytes": 2, "rows": 2},
        encoded="8001c0fffff8",
        decoded=_row([7, 7], "|u1"),
        source="by hand: clear, 7, 7, then codes 511 that no table has, behind the end of the chunk",
        lossless=False,
    ),
    Golden(
        name="ccitt",
        options={"shape": [1, 10, 1], "scheme": "rle"},
        encoded="7a10e0",
        decoded=_row([0, 0, 1, 1, 1, 0, 0, 0, 1, 0], "|u1"),
        source="GDAL, CCITTRLE: white 2 = 0111, black 3 = 10, white 3 = 1000, black 1 = 010, white 1 = 000111",
        lossless=False,
    ),
    Golden(
        name="ccitt",
        options={"shape": [1, 10, 1], "scheme": "group3"},
        encoded="0017a10e",
        decoded=_row([0, 0, 1, 1, 1, 0, 0, 0, 1, 0], "|u1"),
        source="GDAL, CCITTFAX3: an end-of-line code, then the same runs",
        lossless=False,
    ),
    Golden(
        name="ccitt",
        options={"shape": [1, 10, 1], "scheme": "group4"},
        encoded="2f04a0020020",
        decoded=_row([0, 0, 1, 1, 1, 0, 0, 0, 1, 0], "|u1"),
        source="GDAL, CCITTFAX4",
        lossless=False,
    ),
    Golden(
        name="ccitt",
        options={"shape": [1, 10, 1], "scheme": "group4", "fill_order": 2},
        encoded="f42005400004",
        decoded=_row([0, 0, 1, 1, 1, 0, 0, 0, 1, 0], "|u1"),
        source="GDAL, CCITTFAX4; the bits of each byte reversed by hand",
        lossless=False,
    ),
    Golden(
        name="thunderscan",
        options={"shape": [1, 6, 1]},
        encoded="c70245",
        decoded=_row([7, 7, 7, 7, 8, 9], "|u1"),
        source="by hand: raw 7 (11 00 0111), a run of 2 (00 000010), deltas 0, +1, +1 (01 00 01 01)",
        lossless=False,
    ),
    Golden(
        name="next_rle",
        options={"shape": [1, 4, 1]},
        encoded="001b",
        decoded=_row([0, 1, 2, 3], "|u1"),
        source="by hand: a literal row (code 0), two bits a pixel",
        lossless=False,
    ),
)
