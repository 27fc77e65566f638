"""STAC items of all versions to scenes."""

import csv
import json
from datetime import UTC, datetime

import pystac
import pytest
import shapely

from rasteret_refs.errors import AccessError, SourceError
from rasteret_refs.sources.resolve import resolve
from rasteret_refs.sources.stac_assets import AssetChoice
from rasteret_refs.sources.stac_items import ItemReader
from rasteret_refs.sources.stac_static import items_in
from tests.sources.conftest import make_item

# What the documents of the corpus say of themselves, read by hand: why an item cannot be a scene.
REFUSED = {
    "S1A_IW_GRDH_1SSH_20250731T135702_20250731T135722_060328_077F7E": "the reader pays",
    "S1A_IW_GRDH_1SSH_20250731T135637_20250731T135702_060328_077F7E": "the reader pays",
    "S1A_IW_GRDH_1SSH_20250731T135608_20250731T135637_060328_077F7E": "the reader pays",
    "S1A_IW_GRDH_1SSH_20230413T135642_20230413T135707_048078_05C78B": "the reader pays",
    "S2B_20EPT_20250731_0_L1C": "image/jp2",
    "S2B_24MUV_20250731_0_L1C": "image/jp2",
    "52f2317f-091b-4f90-b385-08c93655e089": "image/png",
    "192f767c-20f8-4b42-8ea2-d1f60fdaace1": "image/png",
    "badGeometryItem": "GeoJSON Polygon",
    "MCD43A4.A2022019.h10v04.006": "x-hdf",
    "MCD43A4.A2022032.h14v10.061": "x-hdf",
    None: "with an id",
}


def documents(stac_corpus):
    for path in sorted(stac_corpus.glob("*.json")):
        yield path, json.loads(path.read_text())


def test_every_item_of_the_corpus_becomes_a_scene_or_a_named_failure(stac_corpus):
    with (stac_corpus.parent / "stac_manifest.csv").open() as stream:
        counts = {row["path"].removeprefix("stac/"): int(row["n_items"]) for row in csv.DictReader(stream)}
    scenes = failures = 0
    for path, _ in documents(stac_corpus):
        stream = resolve(path, on_error="skip")
        made = list(stream)
        assert len(made) + len(stream.failures) == counts[path.name], path.name
        for failure in stream.failures:
            assert REFUSED[failure.scene] in str(failure.error), path.name
            assert failure.phase == "resolve"
        scenes += len(made)
        failures += len(stream.failures)
    assert (scenes, failures) == (155, len(REFUSED))


def test_scenes_of_the_corpus_keep_times_footprints_and_hrefs(stac_corpus):
    for path, document in documents(stac_corpus):
        items = {item.get("id"): item for item in items_in(document)}
        for scene in resolve(path, on_error="skip"):
            item = items[scene.id]
            moment = item["properties"].get("datetime") or item["properties"]["start_datetime"]
            expected = datetime.fromisoformat(moment)
            found = scene.datetime or scene.start_datetime
            assert found == (expected if expected.tzinfo else expected.replace(tzinfo=UTC)), path.name
            if item.get("geometry") is None:
                assert scene.geometry is None or "bbox" in item
                continue
            footprint = shapely.force_2d(shapely.geometry.shape(item["geometry"]))
            assert shapely.from_wkb(scene.geometry).equals_exact(footprint, 0), path.name
            for asset in scene.assets:
                fields = item["assets"][asset.properties.get("refs:key", asset.name)]
                assert asset.href.endswith(fields["href"].replace("../", "").removeprefix("./").split("?")[0])
                assert asset.properties.get("roles") == fields.get("roles")


def test_relative_hrefs_follow_the_document_and_absolute_self_links_first(stac_corpus):
    name = "stactools-packages+usda-cdl__cropland_2021_-106095_1807575_15000.json"
    [scene] = resolve(stac_corpus / name)
    assert scene.assets[0].href == str(
        stac_corpus.parent.parent / "tests/data-files/tiles/2021_30m_cdls_-106095_1807575_15000.tif"
    )
    item = make_item(1)
    item["assets"]["B04"]["href"] = "./B04.tif"
    item["links"] = [{"rel": "self", "href": "https://h.example/items/1.json"}]
    [scene] = resolve(item)
    assert scene.assets[0].href == "https://h.example/items/B04.tif"


def test_default_assets_are_the_tiffs_with_role_data(corpus_item):
    item = corpus_item("stac-utils+rustac__item-collection.json")
    [scene] = resolve(item)
    names = [asset.name for asset in scene.assets]
    assert "visual" not in names
    assert "preview" not in names
    assert {"red", "scl", "cloud"} <= set(names)


def test_old_items_without_roles_give_their_tiffs_but_no_thumbnails(corpus_item):
    item = corpus_item("cogeotiff+rio-tiler-pds__S2A_31NBJ_20190524_0_L2A.json")
    names = {asset.name for asset in next(iter(resolve(item))).assets}
    assert {"B04", "SCL"} <= names
    assert not names & {"thumbnail", "overview", "info", "metadata"}


def test_band_positions_of_old_items_become_band_objects(corpus_item):
    item = corpus_item("stac-utils+pystac__examples_example-landsat8.json")
    [scene] = resolve(item, assets=["red"])
    [asset] = scene.assets
    assert asset.href.endswith("_B4.TIF")
    assert asset.properties["refs:key"] == "B4"
    assert asset.properties["eo:bands"][0]["common_name"] == "red"


@pytest.mark.parametrize(
    ("name", "asked", "key"),
    [
        ("stac-utils+rustac__two-sentinel-2-items.json", "red", "B04"),
        ("stac-utils+rustac__two-sentinel-2-items.json", "B04", "B04"),
        ("stac-utils+rustac__two-sentinel-2-items.json", "scl", "SCL"),
        ("cogeotiff+rio-tiler-pds__S2A_29RKH_20200219_0_L2A.json", "red", "red"),
        ("cogeotiff+rio-tiler-pds__S2A_29RKH_20200219_0_L2A.json", "swir16", "swir16"),
        ("stactools-packages+hls__HLS.S30.T19LDD.2022166T144741.v2.0.json", "swir16", "swir_1"),
        ("stac-utils+rustac__bands-v1.1.0.json", "r", None),
    ],
)
def test_assets_are_found_by_key_common_name_and_band_name(corpus_item, name, asked, key):
    item = corpus_item(name)
    if key is None:
        with pytest.raises(SourceError, match="expected one of the assets r"):
            list(resolve(item, assets=[asked]))
        return
    [scene] = resolve(item, assets=[asked])
    assert [asset.name for asset in scene.assets] == [asked]
    assert scene.assets[0].href == item["assets"][key]["href"]


def test_a_mapping_renames_assets(item):
    [scene] = resolve(item(1), assets={"near": "nir", "r": "B04"})
    assert [(asset.name, asset.href[-7:]) for asset in scene.assets] == [("near", "B08.tif"), ("r", "B04.tif")]


def test_an_ambiguous_name_raises_and_names_the_candidates(corpus_item):
    with pytest.raises(SourceError, match=r"B05, B06, B07, B8A"):
        list(resolve(corpus_item("stac-utils+rustac__two-sentinel-2-items.json"), assets=["rededge"]))


def test_bands_take_the_asset_that_holds_them(corpus_item, item):
    [scene] = resolve(item(1), bands=["red", "nir"])
    assert [(asset.name, asset.properties["refs:key"]) for asset in scene.assets] == [("red", "B04"), ("nir", "B08")]
    naip = item(2)
    bands = [{"name": name, "common_name": name.lower()} for name in ("Red", "Green", "Blue", "NIR")]
    naip["assets"] = {"image": {"href": "https://h/i.tif", "type": "image/tiff", "roles": ["data"], "eo:bands": bands}}
    [scene] = resolve(naip, bands=["nir", "red"])
    assert [asset.name for asset in scene.assets] == ["image"]


def test_assets_and_bands_together_are_refused(item):
    with pytest.raises(SourceError, match="both"):
        list(resolve(item(1), assets=["red"], bands=["red"]))


def test_an_asset_that_some_items_lack_is_a_hole_but_one_that_all_lack_raises(item):
    first, second = item(1), item(2)
    del second["assets"]["B08"]
    scenes = list(resolve([first, second], assets=["red", "nir"]))
    assert [[asset.name for asset in scene.assets] for scene in scenes] == [["red", "nir"], ["red"]]
    with pytest.raises(SourceError, match=r"swir16.*B04, B08"):
        list(resolve([first, second], assets=["red", "swir16"]))


def test_start_datetime_stands_in_for_datetime_and_neither_is_a_failure(item):
    first, second = item(1, datetime=None, start_datetime="2020-01-01T00:00:00Z"), item(2, datetime=None)
    stream = resolve([first, second], on_error="skip")
    [scene] = stream
    assert scene.datetime is None
    assert scene.start_datetime == datetime(2020, 1, 1, tzinfo=UTC)
    [failure] = stream.failures
    assert failure.scene == "item-0002"
    assert "no place in time" in str(failure.error)
    with pytest.raises(SourceError, match="item item-0002"):
        list(resolve([first, second]))


def test_signed_hrefs_lose_their_signature_and_say_so(item):
    signed = item(1)
    signed["assets"]["B04"]["href"] += "?sv=2021&sig=SECRET"
    signed["assets"]["B04"]["alternate"] = {"x": {"href": "https://h/a.tif?token=SECRET"}}
    [scene] = resolve(signed)
    assert scene.assets[0].href == "https://data.example/1/B04.tif"
    assert scene.assets[0].properties["refs:signed"] == "azure-sas"
    assert "SECRET" not in repr(scene)


def test_a_presigned_href_is_a_failure_that_does_not_repeat_the_secret(item):
    signed = item(1)
    signed["assets"]["B04"]["href"] += "?X-Amz-Signature=SECRET"
    stream = resolve(signed, on_error="skip")
    assert list(stream) == []
    assert "SECRET" not in str(stream.failures[0].error)


def test_projection_raster_and_eo_fields_are_kept_in_both_forms(corpus_item):
    [old] = resolve(corpus_item("cogeotiff+rio-tiler-pds__S2A_29RKH_20200219_0_L2A.json"), assets=["red"])
    assert old.assets[0].properties["proj:shape"] == [10980, 10980]
    assert old.assets[0].properties["raster:bands"][0]["scale"] == 0.0001
    assert old.properties["proj:epsg"] == 32629
    new = corpus_item("Open-EO+openeo-geopyspark-driver__search_queried.json")
    scene = next(iter(resolve(new)))
    assert scene.assets[0].properties["proj:code"].startswith("EPSG:")
    assert scene.assets[0].properties["bands"]


def test_hrefs_are_rewritten_when_asked(item):
    [scene] = resolve(item(1), url_rewrite={"https://data.example/": "s3://mirror/"})
    assert scene.assets[0].href == "s3://mirror/1/B04.tif"


def test_requester_pays_hrefs_need_consent(item):
    paid = item(1)
    paid["assets"] = {"B4": {"href": "s3://usgs-landsat/x/B4.TIF", "type": "image/tiff", "roles": ["data"]}}
    with pytest.raises(AccessError, match="request_payer"):
        list(resolve(paid))
    with pytest.raises(AccessError):
        list(resolve(paid, storage={"s3://usgs-landsat/": {"request_payer": False}}))
    [scene] = resolve(paid, storage={"s3://usgs-landsat/": {"request_payer": True}})
    assert scene.assets[0].href == "s3://usgs-landsat/x/B4.TIF"


def test_pystac_objects_are_sources(item):
    one = pystac.Item.from_dict(item(1))
    both = pystac.ItemCollection([one, pystac.Item.from_dict(item(2))])
    catalog = pystac.Catalog(id="c", description="c")
    catalog.add_item(pystac.Item.from_dict(item(3)))
    assert [scene.id for scene in resolve(one)] == ["item-0001"]
    assert [scene.id for scene in resolve([one])] == ["item-0001"]
    assert [scene.id for scene in resolve(both)] == ["item-0001", "item-0002"]
    assert [scene.id for scene in resolve(catalog)] == ["item-0003"]


def test_a_dict_that_is_no_item_is_refused():
    with pytest.raises(SourceError, match="STAC Item"):
        resolve({"a": 1})


@pytest.mark.parametrize(
    "change", [{"id": 7}, {"properties": [1]}, {"assets": [1]}, {"geometry": {"type": "Blob"}}, {"bbox": None}]
)
def test_odd_members_of_items_are_refused_and_missing_ones_borne(item, change):
    reader = ItemReader(choice=AssetChoice())
    if change == {"bbox": None}:
        assert reader.scene({**item(1), "geometry": None, **change}).geometry is None
        return
    with pytest.raises(SourceError):
        reader.scene({**item(1), **change})
