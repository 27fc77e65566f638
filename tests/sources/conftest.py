"""Fixtures of the tests of sources: corpus documents, items, a STAC API on the loopback."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.sources.stac_server import Api, serve


@pytest.fixture(autouse=True)
def _own_configuration(tmp_path_factory, monkeypatch):
    """No test sees the catalog of whoever runs it, nor what another test registered."""
    from rasteret_refs.sources import catalog

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    monkeypatch.setattr(catalog, "_registered", {})


@pytest.fixture(scope="session")
def stac_corpus(corpus: Path) -> Path:
    return corpus / "stac"


@pytest.fixture
def corpus_item(stac_corpus: Path) -> Callable[[str], dict[str, Any]]:
    def load(name: str) -> dict[str, Any]:
        document = json.loads((stac_corpus / name).read_text())
        if isinstance(document, list):
            return document[0]
        return document["features"][0] if document["type"] == "FeatureCollection" else document

    return load


def make_item(number: int, **properties: Any) -> dict[str, Any]:
    """A STAC 1.0 item with two TIFFs and a thumbnail."""
    west = number % 100
    ring = [[west, 10], [west + 1, 10], [west + 1, 11], [west, 11], [west, 10]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": f"item-{number:04d}",
        "collection": "things",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [west, 10, west + 1, 11],
        "properties": {
            "datetime": f"2024-01-{number % 28 + 1:02d}T00:00:00Z",
            "eo:cloud_cover": number % 100,
            **properties,
        },
        "links": [],
        "assets": {
            "B04": {
                "href": f"https://data.example/{number}/B04.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "eo:bands": [{"name": "B04", "common_name": "red"}],
            },
            "B08": {
                "href": f"https://data.example/{number}/B08.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "roles": ["data"],
                "eo:bands": [{"name": "B08", "common_name": "nir"}],
            },
            "preview": {"href": f"https://data.example/{number}/p.jpg", "type": "image/jpeg", "roles": ["thumbnail"]},
        },
    }


@pytest.fixture
def item() -> Callable[..., dict[str, Any]]:
    return make_item


@pytest.fixture
def api() -> Iterator[Api]:
    with serve(Api(items=[make_item(number) for number in range(35)])) as running:
        yield running
