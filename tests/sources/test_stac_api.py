"""Searching STAC APIs: paging, bounds, servers that misbehave."""

import json
import time

import pytest

from rasteret_refs.errors import AccessError, NotFoundError, SourceError, UnavailableError
from rasteret_refs.sources import stac_api
from rasteret_refs.sources.catalog import load_catalog
from rasteret_refs.sources.item_filter import ItemFilter
from rasteret_refs.sources.resolve import resolve, resolve_recipe
from tests.sources.stac_server import Api, serve


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    """No waiting between attempts."""
    original = stac_api._io
    monkeypatch.setattr(stac_api, "_io", lambda retries, backoff: original(retries, 0.0))


def test_all_pages_are_read_and_progress_is_told(api):
    seen = []
    stream = resolve(api.url, collections=["things"], progress=lambda count, total: seen.append((count, total)))
    assert len({scene.id for scene in stream}) == 35
    assert len(api.searches) == 4
    assert seen[-1] == (35, None)
    assert stream.axis == "time"


def test_the_search_reaches_the_server(api):
    arguments = {
        "bbox": (1, 2, 3, 4),
        "datetime": "2024-01/2024-06",
        "query": {"eo:cloud_cover": {"lt": 20}},
        "ids": ["a", "b"],
    }
    list(resolve(api.url, collections=["things"], **arguments))
    asked = api.searches[0]
    assert asked["collections"] == ["things"]
    assert asked["bbox"] == [1, 2, 3, 4]
    assert asked["datetime"] == "2024-01-01T00:00:00Z/2024-06-30T23:59:59Z"
    assert asked["query"] == {"eo:cloud_cover": {"lt": 20}}
    assert asked["ids"] == ["a", "b"]
    list(resolve(api.url, collections="things", filter='"eo:cloud_cover" < 20', intersects=_Shape()))
    asked = api.searches[-1]
    assert asked["filter"]
    assert asked["intersects"] == {"type": "Point", "coordinates": [1, 2]}


class _Shape:
    __geo_interface__ = {"type": "Point", "coordinates": [1, 2]}  # noqa: RUF012 - a constant of the test


def test_a_limit_ends_the_paging(api):
    assert len(list(resolve(api.url, collections=["things"], limit=12))) == 12
    assert len(api.searches) == 2


def test_the_url_of_an_apis_collection_is_searched(api):
    assert len(list(resolve(api.url + "/collections/things", limit=5))) == 5
    assert api.searches[0]["collections"] == ["things"]


def test_an_api_without_a_collection_is_refused(api):
    with pytest.raises(SourceError, match="collections="):
        list(resolve(api.url))


def test_a_server_that_pages_for_ever_is_stopped(api):
    api.repeat = True
    with pytest.raises(SourceError, match=r"page for ever \(10 items"):
        list(resolve(api.url, collections=["things"]))
    assert len(api.searches) < 10
    api.searches.clear()
    assert len(list(resolve(api.url, collections=["things"], limit=10))) == 10


def invented(number, item, **extra):
    """A page of ten items that no page had before, and a link to one more."""

    def body(query):
        start = int(query.get("token", 0))
        features = [item(n) for n in range(start, start + number)]
        following = {"rel": "next", "href": extra["url"] + "/search", "method": "POST"}
        following["body"] = {**query, "token": str(start + number)}
        page = {"type": "FeatureCollection", "features": features, "links": [following]}
        return json.dumps(page | {name: value for name, value in extra.items() if name != "url"}).encode()

    return body


@pytest.mark.parametrize("said", [{"numberMatched": 12}, {"context": {"matched": 12}}], ids=["now", "before"])
def test_a_server_that_gives_far_more_than_it_says_is_stopped(api, item, said):
    api.body = invented(100, item, url=api.url, **said)
    with pytest.raises(SourceError, match=r"12 items match.*page for ever"):
        list(resolve(api.url, collections=["things"]))
    assert len(list(resolve(api.url, collections=["things"], limit=1500))) == 1500


def test_a_server_that_invents_items_for_ever_is_stopped(api, item, monkeypatch):
    monkeypatch.setattr("rasteret_refs.sources.stac_api.MAXIMUM_PAGES", 20)
    api.body = invented(10, item, url=api.url)
    with pytest.raises(SourceError, match=r"20 pages and has more.*200 items so far.*limit=200"):
        list(resolve(api.url, collections=["things"]))
    assert len(api.searches) == 20


def test_an_item_that_two_pages_repeat_counts_once(api):
    api.items.insert(10, api.items[9])
    assert len(list(resolve(api.url, collections=["things"]))) == 35


def test_two_different_items_of_one_id_are_both_kept(api, item):
    api.items.append(item(3, updated="2025-01-01T00:00:00Z"))
    scenes = list(resolve(api.url, collections=["things"]))
    assert len(scenes) == 36
    assert [scene.id for scene in scenes].count("item-0003") == 2


@pytest.mark.parametrize("status", [429, 502, 503])
def test_busy_servers_are_asked_again(api, status):
    api.statuses = [status, status]
    assert len(list(resolve(api.url, collections=["things"]))) == 35


@pytest.mark.parametrize("status", [429, 502])
def test_servers_that_stay_busy_end_in_a_clear_error(api, status):
    api.always = status
    with pytest.raises(UnavailableError, match=rf"{status} after 5 retries"):
        list(resolve(api.url, collections=["things"]))
    assert len(api.searches) == 6


def test_a_refused_search_says_what_the_server_said(api):
    api.always = 400
    with pytest.raises(SourceError, match="busy"):
        list(resolve(api.url, collections=["things"]))
    api.always = 404
    with pytest.raises(NotFoundError, match="404"):
        list(resolve(api.url, collections=["things"]))


def test_a_server_that_is_not_there_is_unavailable(monkeypatch):
    monkeypatch.setattr("rasteret_refs.objects.client._BACKOFF", 0.0)
    with serve(Api(items=[])) as gone:
        url = gone.url
    with pytest.raises(UnavailableError, match=url.split("/")[2]):
        list(resolve(url, collections=["things"]))


def test_html_instead_of_items_is_named(api):
    api.body = lambda _: b"<html>log in</html>"
    with pytest.raises(SourceError, match="STAC API's answer"):
        list(resolve(api.url, collections=["things"]))


def entry(api, **changes):
    fields = {
        "id": "tiny/things",
        "title": "Things",
        "endpoint": api.url,
        "collection": "things",
        "aliases": {"rouge": "B04"},
        "storage": {"https://data.example/": {"region": "x"}},
    }
    return {"dataset": [{**fields, **changes}]}


def test_a_catalog_id_searches_its_api_with_its_aliases_and_storage(api):
    stream = resolve("tiny/things", catalog=entry(api), assets=["rouge"], limit=1)
    [scene] = stream
    assert [(asset.name, asset.href[-7:]) for asset in scene.assets] == [("rouge", "B04.tif")]
    assert stream.dataset.id == "tiny/things"
    assert stream.storage == {"https://data.example/": {"region": "x"}}
    assert stream.recipe["kind"] == "stac-api"


def test_the_url_of_a_known_collection_has_its_catalog_entry(api):
    for stream in (
        resolve(api.url, collections=["things"], catalog=entry(api), assets=["rouge"], limit=1),
        resolve(api.url + "/collections/things", catalog=entry(api), assets=["rouge"], limit=1),
    ):
        assert stream.dataset.id == "tiny/things"
        assert stream.recipe["dataset"]["commercial_use"] == "unknown"
        assert [asset.name for asset in next(iter(stream)).assets] == ["rouge"]


def test_requester_pays_datasets_are_refused_before_any_request(api):
    paid = entry(api, requester_pays=["https://data.example/"])
    with pytest.raises(AccessError, match="nothing was requested"):
        resolve("tiny/things", catalog=paid)
    assert api.paths == []
    agreed = resolve("tiny/things", catalog=paid, storage={"https://data.example/": {"request_payer": True}}, limit=1)
    assert len(list(agreed)) == 1
    assert agreed.storage == {"https://data.example/": {"region": "x", "request_payer": True}}


def test_a_recipe_is_json_and_asks_again(api):
    stream = resolve(api.url, collections=["things"], datetime="2024-01", assets={"r": "red"}, limit=3)
    first = [scene.id for scene in stream]
    recipe = json.loads(json.dumps(stream.recipe))
    again = resolve_recipe(recipe, limit=4)
    assert [scene.id for scene in again][:3] == first
    assert len(list(again)) == 4
    assert api.searches[-1]["datetime"] == api.searches[0]["datetime"]


def test_catalog_ids_of_the_package_are_known_to_resolve_without_a_request():
    for name, dataset in load_catalog().items():
        if not dataset.requester_pays and dataset.kind == "stac-api":
            assert resolve(name, limit=1).dataset is dataset


def test_an_api_where_no_server_is_is_told_soon():
    begun = time.monotonic()
    with pytest.raises(UnavailableError, match="expected a STAC API, but the connection was refused"):
        list(stac_api.search("http://127.0.0.1:1/stac", ItemFilter(), collections=["things"]))
    assert time.monotonic() - begun < 10
