"""What every codec of this package shares: bytes in, bytes out, a JSON configuration and bounded output."""

import math
from abc import abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from numcodecs.abc import Codec  # type: ignore[import-untyped] # it carries no types

type Bytes = npt.NDArray[np.uint8]
type Endian = Literal["<", ">"]
"""Little-endian or big-endian."""

MAXIMUM_CHUNK_BYTES = 1 << 31
"""No chunk decodes to more than this, whatever a configuration says."""

CONFIGURATION_VERSION = 1


class CodecError(ValueError):
    """Encoded bytes, or a codec's configuration, are not what they have to be."""


def as_bytes(buffer: Any) -> Bytes:
    """View any buffer as one-dimensional `uint8`, without a copy where it is contiguous.

    Takes bytes, memoryviews, NumPy arrays of any dtype and shape (C order), and Zarr's buffers.
    """
    if hasattr(buffer, "as_numpy_array"):
        buffer = buffer.as_numpy_array()
    array = buffer if isinstance(buffer, np.ndarray) else np.asarray(memoryview(buffer))
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def typed_output(out: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """View a caller's output buffer with this dtype and shape; it has to have exactly their bytes."""
    target = np.asarray(out)
    expected = math.prod(shape) * dtype.itemsize
    if target.nbytes < expected or not target.flags.c_contiguous or not target.flags.writeable:
        raise CodecError(
            f"expected a writable, contiguous output of {expected} bytes, got {target.nbytes} bytes "
            f"(contiguous: {target.flags.c_contiguous}, writable: {target.flags.writeable})"
        )
    return target.reshape(-1).view(np.uint8)[:expected].view(dtype).reshape(shape)


@dataclass(frozen=True, kw_only=True)
class TiffCodec(Codec):  # type: ignore[misc] # likewise
    """Base of all codecs here: a frozen dataclass whose fields are its JSON configuration."""

    codec_id: ClassVar[str]

    version: int = CONFIGURATION_VERSION
    """Of the configuration; a newer one is refused rather than misread."""

    def __post_init__(self) -> None:
        if self.version != CONFIGURATION_VERSION:
            raise CodecError(
                f"expected configuration version {CONFIGURATION_VERSION} of {self.codec_id}, got {self.version!r}"
            )

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decode a chunk to bytes.

        Parameters
        ----------
        buf
            Encoded bytes, as any buffer.
        out
            Where to write: a contiguous buffer of at least the decoded size.

        Returns
        -------
        out, or a new one-dimensional `uint8` array.

        Raises
        ------
        CodecError
            The data are damaged, or others than the configuration says.
        """
        decoded = self.decode_chunk(as_bytes(buf), out)
        return decoded.reshape(-1).view(np.uint8) if out is None else out

    @abstractmethod
    def decode_chunk(self, data: Bytes, out: Any) -> npt.NDArray[Any]:
        """Decode into the caller's buffer, or into new memory where that is None; return what was filled."""

    def get_config(self) -> dict[str, Any]:
        """Return the JSON configuration, `id` first."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"id": self.codec_id} | {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make the codec from its JSON configuration, without `id`."""
        values = {key: value for key, value in config.items() if key != "id"}
        unknown = values.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise CodecError(f"unknown options of {cls.codec_id}: {', '.join(sorted(unknown))}")
        try:
            return cls(**values)
        except TypeError as error:
            raise CodecError(f"configuration of {cls.codec_id}: {error}") from error


def checked_shape(codec_id: str, shape: Any) -> tuple[int, int, int]:
    """Return (rows, columns, samples) as positive integers, or refuse."""
    try:
        rows, columns, samples = (int(size) for size in shape)
    except (TypeError, ValueError) as error:
        raise CodecError(f"{codec_id}: expected shape (rows, columns, samples), got {shape!r}") from error
    if min(rows, columns, samples) < 1 or rows * columns * samples > MAXIMUM_CHUNK_BYTES:
        raise CodecError(
            f"{codec_id}: expected a shape of 1 to {MAXIMUM_CHUNK_BYTES} samples, got {rows} × {columns} × {samples}"
        )
    return rows, columns, samples


@dataclass(frozen=True, kw_only=True)
class ShapedCodec(TiffCodec):
    """A codec that knows the shape of its chunks; the last strip of an image may have fewer rows."""

    shape: tuple[int, int, int]
    """Rows, columns and interleaved samples of a whole chunk (1 sample where planes are separate)."""
    short_rows: int = 0
    """Rows of the last strip where that is shorter (TIFF 6.0, RowsPerStrip); 0 where all chunks are whole."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shape", checked_shape(self.codec_id, self.shape))
        check_short_rows(self.codec_id, self.short_rows, self.shape[0])


def check_short_rows(codec_id: str, short_rows: Any, rows: int) -> None:
    """Refuse a short last strip that is not shorter than the others."""
    if not isinstance(short_rows, int) or not 0 <= short_rows < rows:
        raise CodecError(f"{codec_id}: expected 0 ≤ short_rows < {rows}, got {short_rows!r}")


def checked_choice[T](codec_id: str, name: str, value: T, choices: tuple[T, ...]) -> None:
    """Refuse a configuration value that is not one of the choices."""
    if value not in choices:
        raise CodecError(f"{codec_id}: expected {name} to be one of {choices}, got {value!r}")
