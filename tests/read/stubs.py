"""A reference set made by hand, in memory: what the reader asks of an opened one, and nothing else."""

import itertools
from typing import Any

import numcodecs
import numpy as np
import pyarrow as pa

from rasteret_refs.errors import DamagedError


class StubRefset:
    """Arrays, their metadata and their references; equal by content, picklable."""

    def __init__(self, record_size: int = 4):
        self.record_size = record_size
        self.metadata: dict[str, Any] = {".zgroup": {"zarr_format": 2}}
        self.rows: dict[str, list[tuple[str, int, int, bytes | None]]] = {}
        self.loads = 0

    def __eq__(self, other):
        return isinstance(other, StubRefset) and (self.metadata, self.rows) == (other.metadata, other.rows)

    def __hash__(self):
        return hash(type(self))

    def add(self, path, shape, chunks, dtype, *, compressor=None, filters=None, attributes=None):
        """Add an array whose chunks are all empty."""
        for depth in range(path.count("/")):
            self.metadata["/".join(path.split("/")[: depth + 1]) + "/.zgroup"] = {"zarr_format": 2}
        prefix = f"{path}/" if path else ""
        self.metadata[f"{prefix}.zarray"] = {
            "zarr_format": 2,
            "shape": list(shape),
            "chunks": list(chunks),
            "dtype": np.dtype(dtype).str,
            "compressor": compressor,
            "filters": filters,
            "fill_value": None,
            "order": "C",
        }
        self.metadata[f"{prefix}.zattrs"] = dict(attributes or {})
        count = int(np.prod([-(-s // c) for s, c in zip(shape, chunks, strict=True)], dtype=int))
        self.rows[path] = [("", 0, 0, b"")] * count

    def inline(self, path, number, data):
        """Inline a chunk's bytes."""
        self.rows[path][number] = ("", 0, 0, data)

    def refer(self, path, number, url, offset, size):
        """Refer a chunk to a byte range."""
        self.rows[path][number] = (str(url), offset, size, None)

    def add_values(self, path, values, chunks, *, compressor=None, filters=None, attributes=None):
        """Add an array whose chunks are inlined, encoded by numcodecs."""
        values = np.asarray(values)
        self.add(
            path, values.shape, chunks, values.dtype, compressor=compressor, filters=filters, attributes=attributes
        )
        for number, data in enumerate(encoded_chunks(values, chunks, compressor, filters)):
            self.inline(path, number, data)

    def records(self, array_path, k):
        """Give one manifest file, as `OpenedRefset` does."""
        self.loads += 1
        rows = self.rows[array_path][k * self.record_size : (k + 1) * self.record_size]
        if not rows:
            raise DamagedError(f"no such file: {array_path}/refs.{k}.parq")
        path, offset, size, raw = zip(*rows, strict=True)
        return pa.table({
            "path": pa.array(path).dictionary_encode(),
            "offset": pa.array(offset, pa.int64()),
            "size": pa.array(size, pa.int64()),
            "raw": pa.array(raw, pa.binary()).dictionary_encode(),
        })  # fmt: skip


def encoded_chunks(values, chunks, compressor=None, filters=None):
    """Cut an array into chunks, pad them with zeros as Zarr v2 does, and encode them in C order."""
    grid = [range(0, size, chunk) for size, chunk in zip(values.shape, chunks, strict=True)]
    for origin in itertools.product(*grid):
        part = values[tuple(slice(o, o + c) for o, c in zip(origin, chunks, strict=True))]
        padded = np.zeros(chunks, values.dtype)
        padded[tuple(slice(0, n) for n in part.shape)] = part
        data: Any = padded
        for config in [*(filters or ()), *((compressor,) if compressor else ())]:
            data = numcodecs.get_codec(dict(config)).encode(data)
        yield bytes(data)
