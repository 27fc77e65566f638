"""Codecs are found under one name by numcodecs and by Zarr v3, from a process that imported nothing of ours."""

import subprocess
import sys

import numpy as np
import pytest
import zarr
from zarr.codecs import ZstdCodec
from zarr.registry import get_codec_class

from rasteret_refs_codecs.base import CodecError, TiffCodec
from rasteret_refs_codecs.horizontal_predictor import HorizontalPredictor
from tests.codecs.goldens import GOLDENS

NAMES = sorted({golden.name for golden in GOLDENS})


def _fresh(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_numcodecs_finds_all_in_a_fresh_process_without_importing_zarr() -> None:
    configs = [golden.config for golden in GOLDENS]
    printed = _fresh(
        "import sys, numcodecs\n"
        f"print(*sorted({{numcodecs.get_codec(config).codec_id for config in {configs!r}}}))\n"
        "assert 'zarr' not in sys.modules"
    )
    assert printed.split() == [f"rasteret_refs.{name}" for name in NAMES]


def test_zarr_finds_all_in_a_fresh_process() -> None:
    names = [f"rasteret_refs.{name}" for name in NAMES]
    printed = _fresh(
        "from zarr.registry import get_codec_class\n"
        f"print(*[get_codec_class(name).codec_class.codec_id for name in {names!r}])"
    )
    assert printed.split() == names


@pytest.mark.parametrize("golden", GOLDENS, ids=str)
def test_zarr_v3_metadata_survives_json(golden) -> None:
    cls = get_codec_class(f"rasteret_refs.{golden.name}")
    options = {key: value for key, value in golden.config.items() if key != "id"}
    codec = cls.from_dict({"name": f"rasteret_refs.{golden.name}", "configuration": options})
    assert isinstance(codec.codec, TiffCodec)
    assert cls.from_dict(codec.to_dict()) == codec


def test_zarr_v3_arrays_are_written_and_read_through_our_codecs() -> None:
    values = np.random.default_rng(0).integers(0, 60000, (40, 50), dtype="u2")
    store = zarr.storage.MemoryStore()
    predictor = get_codec_class("rasteret_refs.horizontal_predictor")(
        codec=HorizontalPredictor(shape=(16, 32, 1), bits=16)
    )
    array = zarr.create_array(store, shape=(40, 50), chunks=(16, 32), dtype="u2", compressors=[predictor, ZstdCodec()])
    array[:] = values
    np.testing.assert_array_equal(zarr.open_array(store, mode="r")[:], values)


def test_zarr_v3_refuses_another_codecs_name() -> None:
    cls = get_codec_class("rasteret_refs.fill_order")
    with pytest.raises(ValueError, match="fill_order"):
        cls.from_dict({"name": "rasteret_refs.pad", "configuration": {}})


def test_zarr_v2_arrays_are_written_and_read_through_our_codecs() -> None:
    values = np.random.default_rng(0).normal(size=(3, 40, 50)).astype("f4")
    shape = {"version": 1, "shape": [16, 32, 3]}
    import numcodecs

    filters = [
        numcodecs.get_codec({"id": "rasteret_refs.band_first", "sample_bytes": 4, **shape}),
        numcodecs.get_codec({"id": "rasteret_refs.floating_point_predictor", "bits": 32, **shape}),
    ]
    store = zarr.storage.MemoryStore()
    array = zarr.create_array(
        store,
        shape=values.shape,
        chunks=(3, 16, 32),
        dtype="f4",
        filters=filters,
        compressors=numcodecs.Zlib(),
        zarr_format=2,
    )
    array[:] = values
    np.testing.assert_array_equal(zarr.open_array(store, mode="r", zarr_format=2)[:], values)


def test_errors_are_value_errors() -> None:
    assert issubclass(CodecError, ValueError)
