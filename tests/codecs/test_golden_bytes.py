"""Every codec against bytes that others made, through the registry, in every kind of buffer."""

import json
from typing import Any

import numcodecs
import numpy as np
import pytest
from numcodecs.abc import Codec
from zarr.core.buffer import default_buffer_prototype

from rasteret_refs_codecs.base import CodecError
from tests.codecs.goldens import GOLDENS, Golden

every_golden = pytest.mark.parametrize("golden", GOLDENS, ids=str)


def _codec(golden: Golden) -> Codec:
    return numcodecs.get_codec(golden.config)


def _encoded(golden: Golden) -> bytes:
    return bytes.fromhex(golden.encoded)


def _same(found: Any, golden: Golden) -> bool:
    expected = np.frombuffer(golden.decoded.tobytes(), np.uint8)
    return np.asarray(found).reshape(-1).view(np.uint8).tobytes() == expected.tobytes()


@every_golden
def test_decodes_to_what_others_say(golden: Golden) -> None:
    decoded = _codec(golden).decode(_encoded(golden))
    assert decoded.dtype == np.uint8
    assert decoded.ndim == 1
    assert _same(decoded, golden)


@every_golden
@pytest.mark.parametrize("kind", ["bytearray", "memoryview", "uint8", "readonly", "uint16", "zarr"])
def test_takes_every_kind_of_buffer(golden: Golden, kind: str) -> None:
    encoded = _encoded(golden)
    if kind == "uint16" and len(encoded) % 2:
        pytest.skip("an odd number of bytes is no array of uint16")
    buffer = {
        "bytearray": lambda: bytearray(encoded),
        "memoryview": lambda: memoryview(encoded),
        "uint8": lambda: np.frombuffer(encoded, np.uint8).copy(),
        "readonly": lambda: np.frombuffer(encoded, np.uint8),
        "uint16": lambda: np.frombuffer(encoded, "<u2"),
        "zarr": lambda: default_buffer_prototype().buffer.from_bytes(encoded),
    }[kind]()
    assert _same(_codec(golden).decode(buffer), golden)


@every_golden
def test_decodes_into_a_given_output(golden: Golden) -> None:
    out = np.full(golden.decoded.shape, 1, golden.decoded.dtype)
    returned = _codec(golden).decode(_encoded(golden), out=out)
    assert returned is out
    assert _same(out, golden)


@every_golden
def test_refuses_an_output_that_is_too_small_or_readonly(golden: Golden) -> None:
    codec = _codec(golden)
    with pytest.raises(CodecError, match="output"):
        codec.decode(_encoded(golden), out=np.empty(golden.decoded.nbytes - 1, np.uint8))
    frozen = np.empty(golden.decoded.nbytes, np.uint8)
    frozen.flags.writeable = False
    with pytest.raises(CodecError, match="writable"):
        codec.decode(_encoded(golden), out=frozen)


@every_golden
def test_leaves_its_input_as_it_was(golden: Golden) -> None:
    data = np.frombuffer(_encoded(golden), np.uint8).copy()
    _codec(golden).decode(data)
    assert data.tobytes() == _encoded(golden)


@every_golden
def test_encodes_back(golden: Golden) -> None:
    codec = _codec(golden)
    encoded = bytes(np.ascontiguousarray(np.frombuffer(codec.encode(golden.decoded), np.uint8)))
    if golden.lossless:
        assert encoded == _encoded(golden)
    assert _same(codec.decode(encoded), golden)


@every_golden
def test_configuration_survives_json(golden: Golden) -> None:
    codec = _codec(golden)
    config = json.loads(json.dumps(codec.get_config()))
    assert config["id"] == f"rasteret_refs.{golden.name}"
    assert config.items() >= golden.config.items()
    again = numcodecs.get_codec(config)
    assert again == codec
    assert hash(again) == hash(codec)
    assert again.get_config() == codec.get_config()


@every_golden
def test_refuses_configurations_of_a_newer_version_or_with_unknown_options(golden: Golden) -> None:
    with pytest.raises(CodecError, match="version"):
        numcodecs.get_codec(golden.config | {"version": 2})
    with pytest.raises(CodecError, match=r"unknown options.*colour"):
        numcodecs.get_codec(golden.config | {"colour": 1})


@every_golden
def test_refuses_less_data_than_a_chunk_has(golden: Golden) -> None:
    if golden.name == "fill_order":
        pytest.skip("as long as its input, whatever that is")
    if golden.name in {"ccitt", "thunderscan", "next_rle"}:
        pytest.skip("libtiff tolerates rows that end early, as it does for GDAL")
    codec = _codec(golden)
    for length in (0, 1, len(_encoded(golden)) // 2):
        with pytest.raises(CodecError, match="expected"):
            codec.decode(_encoded(golden)[:length])


def test_every_registered_codec_has_golden_bytes() -> None:
    from importlib.metadata import distribution

    entry_points = distribution("rasteret-refs").entry_points
    for group in ("numcodecs.codecs", "zarr.codecs"):
        names = {entry.name.removeprefix("rasteret_refs.") for entry in entry_points.select(group=group)}
        assert names == {golden.name for golden in GOLDENS}
