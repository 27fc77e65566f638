"""Turns a plan into kerchunk JSON references, so that zarr and xarray open it with nothing of ours but the codecs."""

import base64
import itertools
import json
from pathlib import Path

import numcodecs
import numpy as np
import xarray as xr

from rasteret_refs.tiff.parse import parse
from rasteret_refs.tiff.values import TiffFile
from rasteret_refs.tiff.windows import Windows
from rasteret_refs.virtual.existing import existing_layout
from rasteret_refs.virtual.pyramid import pyramids
from rasteret_refs.virtual.values import PlannedScene, SceneAsset


def parsed(path):
    data = Path(path).read_bytes()
    windows = Windows(len(data))
    windows.add(0, data)
    file = parse(windows)
    assert isinstance(file, TiffFile)
    return file


def scene_of(assets, scene_id="scene", time=None):
    """A scanned scene: `assets` maps names to paths of TIFFs."""
    found = tuple(
        SceneAsset(name=name, url=str(path), size=Path(path).stat().st_size, pyramids=pyramids(parsed(path)))
        for name, path in assets.items()
    )
    return PlannedScene(id=scene_id, assets=found, time=None if time is None else np.datetime64(time, "us"))


def references(plan, base=None):
    """Kerchunk JSON of a plan; `base` holds the references of the set that the plan appends to."""
    refs = dict(base or {})
    for group in plan.groups:
        prefix = f"{group.path}/" if group.path else ""
        refs[f"{prefix}.zgroup"] = json.dumps({"zarr_format": 2})
        refs[f"{prefix}.zattrs"] = json.dumps(dict(group.attributes), allow_nan=False)
        for array in group.arrays:
            refs |= _metadata(prefix, array, array.shape, array.chunks, array.chain)
            refs |= _chunk_references(prefix + array.name, array)
        for coordinate in group.coordinates:
            values = coordinate.values
            chunks = coordinate.chunks or values.shape
            refs |= _metadata(prefix, coordinate, values.shape, chunks, coordinate)
            refs |= _coordinate_chunks(prefix + coordinate.name, coordinate, chunks)
    return refs


def opened(plan_or_refs, group):
    """A group as plain xarray reads it."""
    refs = plan_or_refs if isinstance(plan_or_refs, dict) else references(plan_or_refs)
    return _open(refs, group=group)


def existing_of(refs):
    """The planner's view of references that are written already; coordinates are read by xarray, undecoded."""
    documents = {key: json.loads(text) for key, text in refs.items() if ".z" in key.rpartition("/")[2]}

    def read(path):
        group, _, name = path.rpartition("/")
        return _open(refs, group=group, decode_cf=False)[name].values

    return existing_layout(documents, read)


def _open(refs, **options):
    # kerchunk's engine opens with dask by default, inside what xarray then takes for plain arrays.
    source = {"version": 1, "refs": refs}
    return xr.open_dataset(source, engine="kerchunk", open_dataset_options={"chunks": None, **options})


def _metadata(prefix, array, shape, chunks, coding):
    zarray = {
        "zarr_format": 2,
        "shape": list(shape),
        "chunks": list(chunks),
        "dtype": coding.dtype if hasattr(coding, "dtype") else coding.values.dtype.str,
        "fill_value": None,
        "order": "C",
        "filters": [dict(config) for config in coding.filters] or None,
        "compressor": None if coding.compressor is None else dict(coding.compressor),
        "dimension_separator": ".",
    }
    attributes = {"_ARRAY_DIMENSIONS": list(array.dims), **array.attributes}
    path = prefix + array.name
    return {f"{path}/.zarray": json.dumps(zarray), f"{path}/.zattrs": json.dumps(attributes, allow_nan=False)}


def _chunk_references(path, array):
    counts = [-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True)]
    manifest = array.manifest
    refs = {}
    for number, index in enumerate(itertools.product(range(array.start, counts[0]), *map(range, counts[1:]))):
        key = f"{path}/{'.'.join(map(str, index))}"
        if manifest.inline is not None and manifest.inline[number] >= 0:
            refs[key] = _inlined(manifest.inlined[manifest.inline[number]])
        else:
            url = manifest.urls[manifest.url_index[number]]
            refs[key] = [url, int(manifest.offsets[number]), int(manifest.sizes[number])]
    return refs


def _coordinate_chunks(path, coordinate, chunks):
    codecs = [*coordinate.filters, *([] if coordinate.compressor is None else [coordinate.compressor])]
    counts = [-(-size // chunk) for size, chunk in zip(coordinate.values.shape, chunks, strict=True)]
    refs = {}
    for index in itertools.product(*map(range, counts)):
        block = np.zeros(chunks, coordinate.values.dtype)
        part = coordinate.values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, chunks, strict=True))]
        block[tuple(slice(0, n) for n in part.shape)] = part
        data = block
        for config in codecs:
            data = numcodecs.get_codec(dict(config)).encode(data)
        refs[f"{path}/{'.'.join(map(str, index)) or '0'}"] = _inlined(np.asarray(data).tobytes())
    return refs


def _inlined(data):
    return "base64:" + base64.b64encode(data).decode()
