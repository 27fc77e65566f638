"""STAC documents that no API serves: files, catalogs linked together, remote ones, and client-side searching."""

import json

import pytest

from rasteret_refs.errors import NotFoundError, SourceError
from rasteret_refs.sources.resolve import resolve
from tests.sources.conftest import make_item


def write_catalog(root):
    """A catalog with two collections of two items each, linked relatively, one link leading back."""
    for name, west in (("west", 0), ("east", 50)):
        folder = root / name
        folder.mkdir(parents=True)
        links = [{"rel": "root", "href": "../catalog.json"}, {"rel": "child", "href": "./collection.json"}]
        for number in (1, 2):
            item = make_item(west + number)
            item["assets"]["B04"]["href"] = f"./{number}.tif"
            (folder / f"{number}.json").write_text(json.dumps(item))
            links.append({"rel": "item", "href": f"./{number}.json"})
        extent = {
            "spatial": {"bbox": [[west, 10, west + 4, 11]]},
            "temporal": {"interval": [["2024-01-01T00:00:00Z", None]]},
        }
        collection = {"type": "Collection", "id": name, "stac_version": "1.0.0", "extent": extent, "links": links}
        (folder / "collection.json").write_text(json.dumps(collection))
    links = [{"rel": "child", "href": f"./{name}/collection.json"} for name in ("west", "east")]
    catalog = {"type": "Catalog", "id": "c", "stac_version": "1.0.0", "links": links}
    (root / "catalog.json").write_text(json.dumps(catalog))


@pytest.fixture
def catalog(tmp_path):
    write_catalog(tmp_path)
    return tmp_path


def test_a_static_catalog_is_walked_once_even_where_links_lead_back(catalog):
    scenes = list(resolve(catalog / "catalog.json"))
    assert [scene.id for scene in scenes] == ["item-0001", "item-0002", "item-0051", "item-0052"]
    assert scenes[0].assets[0].href == str(catalog / "west" / "1.tif")


def test_a_directory_with_a_catalog_is_that_catalog(catalog):
    assert len(list(resolve(catalog))) == 4
    assert len(list(resolve(catalog / "east"))) == 2


def test_collections_outside_the_search_are_not_read(catalog):
    for number in (1, 2):
        (catalog / "west" / f"{number}.json").unlink()
    assert [scene.id for scene in resolve(catalog, bbox=(49, 0, 60, 20))] == ["item-0051", "item-0052"]


def test_a_broken_document_is_a_failure_and_the_rest_is_read(catalog):
    (catalog / "west" / "1.json").write_text("<html>")
    (catalog / "east" / "2.json").unlink()
    stream = resolve(catalog, on_error="skip")
    assert [scene.id for scene in stream] == ["item-0002", "item-0051"]
    assert [type(failure.error) for failure in stream.failures] == [SourceError, NotFoundError]
    assert "expected JSON, found '<html>'" in str(stream.failures[0].error)
    with pytest.raises(SourceError, match=r"1\.json"):
        list(resolve(catalog))


def test_a_catalog_over_http_resolves_its_links_and_hrefs(catalog, server):
    url = server.put("x.txt", b"").rsplit("/", 1)[0]
    scenes = list(resolve(f"{url}/catalog.json"))
    assert [scene.id for scene in scenes] == ["item-0001", "item-0002", "item-0051", "item-0052"]
    assert scenes[0].assets[0].href == f"{url}/west/1.tif"


def test_nothing_is_asked_before_iterating(catalog, server):
    url = server.put("x.txt", b"").rsplit("/", 1)[0]
    server.reset()
    stream = resolve(f"{url}/catalog.json")
    assert server.stats().requests == 0
    next(iter(stream))
    assert server.stats().requests > 0


def test_a_missing_document_is_named(server):
    url = server.put("x.txt", b"").rsplit("/", 1)[0]
    with pytest.raises(NotFoundError, match=r"nothing\.json"):
        list(resolve(f"{url}/nothing.json"))


def test_lines_of_json_are_items(tmp_path, item):
    path = tmp_path / "items.ndjson"
    path.write_text("\n".join(json.dumps(item(number)) for number in range(3)))
    assert len(list(resolve(path))) == 3


@pytest.mark.parametrize("content", ["{}", "[1]", '{"type": "Feature"', '"text"', "\xff"])
def test_other_json_is_refused_by_name(tmp_path, content):
    path = tmp_path / "odd.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(SourceError, match=r"odd\.json"):
        list(resolve(path))


@pytest.mark.parametrize(
    ("search", "expected"),
    [
        ({"bbox": (2.5, 0, 3.5, 20)}, [2, 3]),
        ({"bbox": (170, 0, 2.5, 20)}, [0, 1, 2]),
        ({"intersects": {"type": "Point", "coordinates": [4.5, 10.5]}}, [4]),
        ({"datetime": "2024-01-03/2024-01-05"}, [2, 3, 4]),
        ({"datetime": "2024-01-08/.."}, [7, 8, 9]),
        ({"datetime": "2024-01"}, list(range(10))),
        ({"query": {"eo:cloud_cover": {"lt": 3}}}, [0, 1, 2]),
        ({"query": ["eo:cloud_cover>=8"]}, [8, 9]),
        ({"filter": '"eo:cloud_cover" > 6 AND "eo:cloud_cover" < 9'}, [7, 8]),
        ({"ids": ["item-0005"]}, [5]),
        ({"collections": ["other"]}, []),
        ({"limit": 2}, [0, 1]),
    ],
)
def test_items_without_an_api_are_searched_as_an_api_would(item, search, expected):
    items = [item(number) for number in range(10)]
    assert [scene.id for scene in resolve(items, **search)] == [f"item-{number:04d}" for number in expected]


@pytest.mark.parametrize(
    "search",
    [
        {"query": {"a": {"near": 1}}},
        {"query": ["cloudy"]},
        {"filter": "a ==== b"},
        {"bbox": (0, 1)},
        {"datetime": "yesterday"},
        {"datetime": "2024-02/2024-01"},
        {"intersects": 5},
    ],
)
def test_a_search_that_means_nothing_is_refused(item, search):
    with pytest.raises(SourceError):
        list(resolve([item(1)], **search))
