"""The catalog of datasets: complete, honest about what is verified, extensible."""

import json
import re
import tomllib
from importlib.resources import files

import pytest

from rasteret_refs.errors import NotFoundError, SourceError
from rasteret_refs.sources import catalog as module
from rasteret_refs.sources.catalog import Dataset, info_rows, load_catalog, register, table_rows, user_file
from rasteret_refs.sources.radiometry import RULES
from rasteret_refs.sources.resolve import resolve

LISTED = {
    "earthsearch/sentinel-2-l2a",
    "earthsearch/landsat-c2-l2",
    "earthsearch/naip",
    "earthsearch/cop-dem-glo-30",
    "earthsearch/cop-dem-glo-90",
    "earthsearch/sentinel-2-c1-l2a",
    "pc/sentinel-2-l2a",
    "pc/io-lulc-annual-v02",
    "pc/alos-dem",
    "pc/nasadem",
    "pc/esa-worldcover",
    "pc/usda-cdl",
    "pc/sentinel-1-rtc",
    "pc/jrc-gsw",
    "lpcloud/hls-l30",
    "lpcloud/hls-s30",
    "aef/v1-annual",
    "aws/esa-worldcover",
    "maxar/open-data",
    "umbra/open-data",
}
SMALL = {"id": "me/mine", "title": "Mine", "endpoint": "https://h/v1", "collection": "mine"}


def test_every_listed_dataset_is_there():
    assert set(load_catalog()) >= LISTED


@pytest.mark.parametrize("name", sorted(load_catalog()))
def test_every_entry_says_what_it_must_and_how_sure_it_is(name):
    dataset = load_catalog()[name]
    facts = set(dataset.as_dict())
    assert set(dataset.verified) <= facts
    assert set(dataset.unverified) <= facts
    assert not set(dataset.verified) & set(dataset.unverified)
    assert dataset.endpoint
    assert dataset.assets
    assert dataset.licence != "unknown"
    assert dataset.licence_url
    assert dataset.attribution
    assert dataset.source_url
    assert dataset.source_url.startswith("https://")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", dataset.checked)
    assert dataset.radiometry is None or dataset.radiometry in RULES
    for fact in ("endpoint", "licence", "attribution"):
        assert fact in dataset.verified or fact in dataset.unverified, fact
    if dataset.commercial_use != "unknown":
        assert "commercial_use" in dataset.verified
        assert "licence" in dataset.verified
    assert set(dataset.cloud_mask) <= set(dataset.assets)
    assert set(dataset.aliases.values()) <= set(dataset.assets)


def test_non_commercial_data_are_flagged_and_doubtful_licences_are_unknown():
    catalog = load_catalog()
    assert catalog["maxar/open-data"].commercial_use is False
    assert catalog["pc/usda-cdl"].commercial_use == "unknown"
    assert catalog["pc/usda-cdl"].aliases["CDL"] == "cropland"
    assert {one.id for one in catalog.search(commercial_use=True)}.isdisjoint({"maxar/open-data", "pc/alos-dem"})


def test_commercial_use_is_never_assumed():
    assert Dataset(id="a/b", title="t", kind="none").commercial_use == "unknown"


def test_search_finds_all_words_in_any_order():
    assert [one.id for one in load_catalog().search("LEVEL-2A planetary")] == ["pc/sentinel-2-l2a"]
    assert load_catalog().search("no such thing") == []


def test_an_unknown_id_names_similar_ones():
    with pytest.raises(SourceError, match=r"earthsearch/sentinel-2-l2a"):
        load_catalog().info("earthsearch/sentinel2-l2a")
    with pytest.raises(SourceError, match=r"pc/sentinel-2-l2a"):
        resolve("pc/sentinel2")


def test_rows_for_people_say_licence_flag_and_certainty():
    [row] = table_rows(load_catalog().search("maxar"))
    assert row == ("maxar/open-data", "Maxar Open Data Program", "none", "CC-BY-NC-4.0", "no")
    rows = {name: (value, sure) for name, value, sure in info_rows(load_catalog()["umbra/open-data"])}
    assert rows["licence"] == ("CC-BY-4.0", "verified")
    assert rows["endpoint"][1] == "unverified"


def test_entries_are_json_values():
    for dataset in load_catalog().values():
        assert json.loads(json.dumps(dataset.as_dict()))["id"] == dataset.id


def test_users_add_datasets_by_values_files_urls_and_their_own_file(tmp_path, server):
    register(SMALL)
    path = tmp_path / "more.toml"
    path.write_text('[[dataset]]\nid = "me/toml"\ntitle = "T"\nendpoint = "https://h/v1"\ncollection = "c"\n')
    register(path)
    register(server.put("more.json", json.dumps({"dataset": [{**SMALL, "id": "me/url"}]}).encode()))
    own = user_file()
    own.parent.mkdir(parents=True, exist_ok=True)
    own.write_text('[[dataset]]\nid = "me/own"\ntitle = "O"\nkind = "none"\n')
    found = load_catalog(extra={**SMALL, "id": "me/extra"})
    assert {"me/mine", "me/toml", "me/url", "me/own", "me/extra"} <= set(found)
    assert found["me/toml"].commercial_use == "unknown"


def test_later_entries_replace_earlier_ones():
    register({**SMALL, "id": "pc/nasadem", "title": "Mine"})
    assert load_catalog()["pc/nasadem"].title == "Mine"


@pytest.mark.parametrize(
    "change",
    [
        {"id": ""},
        {"colour": "red"},
        {"commercial_use": "yes"},
        {"kind": "magic"},
        {"endpoint": None},
        {"collection": None},
        {"kind": "tiles"},
    ],
)
def test_entries_that_make_no_sense_are_refused(change):
    with pytest.raises(SourceError):
        register({**SMALL, **change})


def test_files_that_are_no_catalog_are_named(tmp_path):
    (tmp_path / "odd.toml").write_text("= 3")
    with pytest.raises(SourceError, match=r"odd\.toml"):
        register(tmp_path / "odd.toml")
    with pytest.raises(NotFoundError, match=r"gone\.toml"):
        load_catalog(extra=tmp_path / "gone.toml")


def test_the_file_in_the_package_is_plain_toml():
    text = files("rasteret_refs.sources").joinpath("datasets.toml").read_text(encoding="utf-8")
    assert len(tomllib.loads(text)["dataset"]) == len(module._builtin())


def test_tiles_named_by_their_corner_get_footprints_and_years(monkeypatch):
    import shapely

    names = [
        "ESA_WorldCover_10m_2021_v200_N48E006_Map.tif",
        "ESA_WorldCover_10m_2021_v200_S03W051_Map.tif",
        "odd_Map.tif",
    ]
    monkeypatch.setattr("rasteret_refs.sources.fetching.list_objects", lambda prefix, storage: [(n, 1) for n in names])
    stream = resolve("aws/esa-worldcover", on_error="skip")
    north, south = stream
    assert shapely.from_wkb(north.geometry).equals(shapely.box(6, 48, 9, 51))
    assert shapely.from_wkb(south.geometry).equals(shapely.box(-51, -3, -48, 0))
    assert north.start_datetime.year == north.end_datetime.year == 2021
    assert north.assets[0].href == "s3://esa-worldcover/v200/2021/map/" + names[0]
    assert [failure.scene for failure in stream.failures] == ["odd_Map"]
    assert [scene.id for scene in resolve("aws/esa-worldcover", bbox=(7, 49, 8, 50), on_error="skip")] == [north.id]
    assert stream.storage["s3://esa-worldcover/"]["anonymous"] is True
