"""Secrets given for reading: none of them in any file that is written, whatever happens."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import rasteret_refs as rr
from rasteret_refs.errors import RasteretRefsError
from tests.servers.range_server import Server

CANARIES = ("SECRETSIG", "SECRETTOKEN", "SECRETKEY", "SECRETHEADER", "SECRETPASSWORD")
MARKS = (b"sig=", b"x-amz-", b"token=", *(canary.encode() for canary in CANARIES))
QUERIES = (
    "?sig=SECRETSIG&se=2030", "?X-Amz-Signature=SECRETSIG&X-Amz-Credential=SECRETKEY", "?token=SECRETTOKEN",
    "?X-Goog-Signature=SECRETSIG", "?Signature=SECRETSIG&Key-Pair-Id=SECRETKEY", "?api_key=SECRETKEY",
    "?password=SECRETPASSWORD", "#sig=SECRETSIG", "?SIG=SECRETSIG", "?access_token=SECRETTOKEN",
)  # fmt: skip
STORAGE = {"client_options": {"default_headers": {"x-extra": "SECRETHEADER"}}}


def scanned(root: Path) -> tuple[int, list[str]]:
    """Look through every file below a directory, Parquet decompressed."""
    import pyarrow.parquet as pq

    files, found = 0, []
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        files += 1
        data = path.read_bytes()
        if path.suffix in {".parq", ".parquet"}:
            table = pq.read_table(path)
            data += json.dumps(table.to_pylist(), default=str).encode() + str(table.schema.metadata).encode()
        lowered = data.lower()
        found += [f"{path.name}: {mark!r}" for mark in MARKS if mark.lower() in lowered]
    return files, found


@pytest.mark.parametrize("query", QUERIES)
def test_no_secret_of_a_url_reaches_any_file(served: Server, tmp_path: Path, query: str) -> None:
    urls = [f"{served.url}s0.tif", f"{served.url}s1.tif{query}", f"{served.url}missing.tif{query}"]
    item: dict[str, Any] = {
        "type": "Feature", "stac_version": "1.0.0", "id": "item", "geometry": None, "links": [],
        "properties": {"datetime": "2024-01-01T00:00:00Z", "href": urls[1]},
        "assets": {"image": {"href": urls[1], "type": "image/tiff; application=geotiff"},
                   "other": {"href": urls[0], "type": "image/tiff; application=geotiff"}},
    }  # fmt: skip
    (tmp_path / "list.txt").write_text("\n".join(urls))
    inputs = tmp_path / "list.txt"
    out = tmp_path / "out"
    out.mkdir()
    for number, source in enumerate((urls, str(inputs), [item])):
        try:
            rr.build(source, out / f"{number}.refs", on_error="skip", storage={served.url: STORAGE})
        except RasteretRefsError as error:
            message = str(error)
        else:
            message = ""
        assert not any(canary in message for canary in CANARIES), message
    files, found = scanned(out)
    assert not found, found
    assert files or query


def test_secrets_of_storage_options_reach_neither_files_nor_messages(served: Server, tmp_path: Path) -> None:
    storage = {
        served.url: STORAGE,
        "s3://bucket/": {"access_key_id": "SECRETKEY", "secret_access_key": "SECRETKEY", "token": "SECRETTOKEN"},
        "az://container/": {"sas_key": "SECRETSIG", "account_key": "SECRETKEY"},
        "https://data.example.org/": {"earthdata": True, "token": "SECRETTOKEN", "password": "SECRETPASSWORD"},
    }
    served.fail("status", path="s1.tif", status=403)
    out = tmp_path / "out"
    rr.build([f"{served.url}s{n}.tif" for n in range(2)], out / "x.refs", on_error="skip", storage=storage)
    refs = rr.open(out / "x.refs", storage=storage)
    refs.annotate({"id": refs.scenes["id"].to_pylist(), "label": [1]}, on="id")
    files, found = scanned(out)
    assert files > 5
    assert not found, found
    assert not any(canary in repr(refs) for canary in CANARIES)


def test_pickles_hold_no_more_than_what_the_caller_gave(
    served: Server, tmp_path: Path, pixels: npt.NDArray[Any]
) -> None:
    """Workers need the options for storage; tokens that were fetched with them stay behind."""
    rr.build([f"{served.url}s{number}.tif" for number in range(3)], tmp_path / "x.refs")
    refs = rr.open(tmp_path / "x.refs", storage={served.url: {"timeout": 5}})
    np.testing.assert_array_equal(refs.to_xarray().image.values, pixels)
    for what in (refs.reader, refs.refset, refs.to_xarray(chunks={})):
        text = pickle.dumps(what)
        assert not any(mark in text.lower() for mark in (b"token", b"secret", b"password", b"sig=", b"x-amz"))
