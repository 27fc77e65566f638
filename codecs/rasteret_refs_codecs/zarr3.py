"""The same codecs for Zarr v3: each is a bytes → bytes codec of the same dotted name and configuration."""

import asyncio
from dataclasses import dataclass, field
from typing import ClassVar, Self

from zarr.abc.codec import BytesBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer
from zarr.core.common import JSON, parse_named_configuration

from rasteret_refs_codecs.band_first import BandFirst
from rasteret_refs_codecs.base import TiffCodec, as_bytes
from rasteret_refs_codecs.byte_order import ByteOrder
from rasteret_refs_codecs.ccitt import Ccitt
from rasteret_refs_codecs.complex_int import ComplexInt
from rasteret_refs_codecs.fill_order import FillOrder
from rasteret_refs_codecs.floating_point_predictor import FloatingPointPredictor
from rasteret_refs_codecs.horizontal_predictor import HorizontalPredictor
from rasteret_refs_codecs.jpeg import Jpeg
from rasteret_refs_codecs.jpeg2000 import Jpeg2000
from rasteret_refs_codecs.jpegxl import JpegXl
from rasteret_refs_codecs.lerc import Lerc
from rasteret_refs_codecs.lzw import Lzw
from rasteret_refs_codecs.mask_bits import MaskBits
from rasteret_refs_codecs.next_rle import NextRle
from rasteret_refs_codecs.pad import Pad
from rasteret_refs_codecs.thunderscan import ThunderScan
from rasteret_refs_codecs.unpack_bits import UnpackBits
from rasteret_refs_codecs.webp import Webp


@dataclass(frozen=True)
class ZarrCodec(BytesBytesCodec):
    """Wrap one of our numcodecs codecs; Zarr v3 gives `encode` and `decode` another meaning, hence a second class."""

    codec_class: ClassVar[type[TiffCodec]]
    is_fixed_size = False

    codec: TiffCodec = field()
    """What does the work."""

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Make the codec from its entry in `zarr.json`."""
        _, configuration = parse_named_configuration(data, cls.codec_class.codec_id)
        return cls(codec=cls.codec_class.from_config(configuration))

    def to_dict(self) -> dict[str, JSON]:
        """Return the entry in `zarr.json`."""
        configuration = self.codec.get_config()
        return {"name": configuration.pop("id"), "configuration": configuration}

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._decode_sync, chunk_data, chunk_spec)

    async def _encode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        return await asyncio.to_thread(self._encode_sync, chunk_data, chunk_spec)

    def _decode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        decoded = as_bytes(self.codec.decode(chunk_data.as_numpy_array()))
        return chunk_spec.prototype.buffer.from_array_like(decoded)

    def _encode_sync(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        encoded = as_bytes(self.codec.encode(chunk_data.as_numpy_array()))
        return chunk_spec.prototype.buffer.from_array_like(encoded)

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Sizes depend on the data."""
        raise NotImplementedError


class ZarrBandFirst(ZarrCodec):
    """`rasteret_refs.band_first`."""

    codec_class = BandFirst


class ZarrByteOrder(ZarrCodec):
    """`rasteret_refs.byte_order`."""

    codec_class = ByteOrder


class ZarrComplexInt(ZarrCodec):
    """`rasteret_refs.complex_int`."""

    codec_class = ComplexInt


class ZarrFillOrder(ZarrCodec):
    """`rasteret_refs.fill_order`."""

    codec_class = FillOrder


class ZarrFloatingPointPredictor(ZarrCodec):
    """`rasteret_refs.floating_point_predictor`."""

    codec_class = FloatingPointPredictor


class ZarrHorizontalPredictor(ZarrCodec):
    """`rasteret_refs.horizontal_predictor`."""

    codec_class = HorizontalPredictor


class ZarrLzw(ZarrCodec):
    """`rasteret_refs.lzw`."""

    codec_class = Lzw


class ZarrMaskBits(ZarrCodec):
    """`rasteret_refs.mask_bits`."""

    codec_class = MaskBits


class ZarrPad(ZarrCodec):
    """`rasteret_refs.pad`."""

    codec_class = Pad


class ZarrUnpackBits(ZarrCodec):
    """`rasteret_refs.unpack_bits`."""

    codec_class = UnpackBits


class ZarrJpeg(ZarrCodec):
    """`rasteret_refs.jpeg`."""

    codec_class = Jpeg


class ZarrWebp(ZarrCodec):
    """`rasteret_refs.webp`."""

    codec_class = Webp


class ZarrJpegXl(ZarrCodec):
    """`rasteret_refs.jpegxl`."""

    codec_class = JpegXl


class ZarrJpeg2000(ZarrCodec):
    """`rasteret_refs.jpeg2000`."""

    codec_class = Jpeg2000


class ZarrLerc(ZarrCodec):
    """`rasteret_refs.lerc`."""

    codec_class = Lerc


class ZarrCcitt(ZarrCodec):
    """`rasteret_refs.ccitt`."""

    codec_class = Ccitt


class ZarrThunderScan(ZarrCodec):
    """`rasteret_refs.thunderscan`."""

    codec_class = ThunderScan


class ZarrNextRle(ZarrCodec):
    """`rasteret_refs.next_rle`."""

    codec_class = NextRle
