"""Scale and offset: rules against published figures, STAC in both forms, the TIFF, and contradictions."""

import numpy as np
import pytest

from rasteret_refs.errors import QueryError
from rasteret_refs.sources.catalog import load_catalog
from rasteret_refs.sources.radiometry import Calibration, radiometry, stac_calibration
from rasteret_refs.sources.resolve import resolve

BAND = {"raster:bands": [{"nodata": 0, "scale": 0.0001, "offset": -0.1}]}


def linear(found):
    chosen = found.calibration()
    return chosen.scales, chosen.offsets


@pytest.mark.parametrize(
    ("item", "offset"),
    [
        ({"s2:processing_baseline": "02.14"}, 0.0),
        ({"s2:processing_baseline": "03.01"}, 0.0),
        ({"s2:processing_baseline": "04.00"}, -0.1),
        ({"s2:processing_baseline": "05.10"}, -0.1),
        ({"s2:processing_baseline": "04.00", "earthsearch:boa_offset_applied": True}, 0.0),
        ({"s2:processing_baseline": "04.00", "earthsearch:boa_offset_applied": False}, -0.1),
        ({"processing:version": "05.11"}, -0.1),
        ({"s2:product_uri": "S2A_MSIL2A_20220130T000000_N0400_R037_T29RKH_20220130T000000.SAFE"}, -0.1),
        ({"s2:product_uri": "S2A_MSIL2A_20200219T112111_N0214_R037_T29RKH_20200219T123947.SAFE"}, 0.0),
        ({"s2:datatake_id": "GS2A_20200219T112111_024344_N02.14"}, 0.0),
    ],
)
@pytest.mark.parametrize("asset", ["red", "B04", "B04_10m"])
def test_sentinel_2_has_its_offset_by_baseline_and_flag(item, offset, asset):
    assert linear(radiometry("s", asset, rule="sentinel-2-l2a", item=item)) == ((1e-4,), (offset,))


def test_sentinel_2_classes_have_no_scale_and_aerosol_has_its_own():
    item = {"s2:processing_baseline": "05.00"}
    for asset in ("scl", "SCL", "visual", "cloud"):
        assert radiometry("s", asset, rule="sentinel-2-l2a", item=item).calibration() is None
    assert linear(radiometry("s", "AOT", rule="sentinel-2-l2a", item=item)) == ((0.001,), (0.0,))


def test_a_renamed_asset_is_judged_by_its_own_name():
    item = {"s2:processing_baseline": "05.00"}
    found = radiometry("s", "colour", rule="sentinel-2-l2a", item=item, fields={"refs:key": "B04"})
    assert linear(found) == ((1e-4,), (-0.1,))


@pytest.mark.parametrize(
    ("item", "fields", "words"),
    [
        ({"s2:processing_baseline": "04.00", "earthsearch:boa_offset_applied": True}, BAND, "raster:bands"),
        ({"s2:processing_baseline": "03.01"}, BAND, "raster:bands"),
        ({"s2:processing_baseline": "03.01", "earthsearch:boa_offset_applied": True}, {}, "there was no offset"),
        ({}, BAND, "does not tell its processing baseline"),
    ],
)
def test_contradictory_sources_raise_only_when_asked_and_name_the_scene(item, fields, words):
    found = radiometry("S2B_52SFA_20220126", "red", rule="sentinel-2-l2a", item=item, fields=fields)
    assert found.contradictory
    with pytest.raises(QueryError, match=rf"S2B_52SFA_20220126, red: contradictory.*{words}"):
        found.calibration()


def test_the_user_may_name_the_source_to_trust():
    item = {"s2:processing_baseline": "04.00", "earthsearch:boa_offset_applied": True}
    found = radiometry("s", "red", rule="sentinel-2-l2a", item=item, fields=BAND)
    assert found.calibration(prefer="rule").offsets == (0.0,)
    assert found.calibration(prefer="stac").offsets == (-0.1,)
    with pytest.raises(QueryError, match="'tiff' says nothing"):
        found.calibration(prefer="tiff")


def test_there_is_no_step_in_reflectance_at_the_change_of_baseline():
    # A surface of reflectance 0.2 as stored before and after 2022-01-25, and by Earth Search with the offset taken out.
    cases = [("03.01", None, 2000), ("04.00", False, 3000), ("04.00", True, 2000)]
    for baseline, applied, stored in cases:
        item = {"s2:processing_baseline": baseline}
        if applied is not None:
            item["earthsearch:boa_offset_applied"] = applied
        calibration = radiometry("s", "red", rule="sentinel-2-l2a", item=item).calibration()
        assert calibration.apply(np.array([stored], "uint16"))[0] == pytest.approx(0.2, abs=1e-6)


@pytest.mark.parametrize(
    ("asset", "stored", "expected"),
    [
        # The worked examples of https://www.usgs.gov/faqs/how-do-i-use-a-scale-factor-landsat-level-2-science-products
        ("red", 18639, 0.313),
        ("SR_B4", 18639, 0.313),
        ("lwir11", 44947, 302.6),
        ("ST_B10", 44947, 302.6),
    ],
)
def test_landsat_gives_the_worked_examples_of_the_usgs(asset, stored, expected):
    calibration = radiometry("s", asset, rule="landsat-c2-l2").calibration()
    assert calibration.apply(np.array([stored], "uint16"))[0] == pytest.approx(
        expected, abs=0.05 if expected > 1 else 5e-4
    )


def test_rules_agree_with_what_recorded_items_say(corpus_item):
    cases = [
        ("stactools-packages+landsat__LC09_L2SP_010065_20220129_02_T1.json", "landsat-c2-l2"),
        ("stac-utils+rustac__item-collection.json", "sentinel-2-l2a"),
        ("cogeotiff+rio-tiler-pds__S2A_29RKH_20200219_0_L2A.json", "sentinel-2-l2a"),
        ("stactools-packages+hls__HLS.S30.T19LDD.2022166T144741.v2.0.json", "hls-v2"),
    ]
    compared = 0
    for name, rule in cases:
        item = corpus_item(name)
        for key, asset in item["assets"].items():
            if "tif" not in str(asset.get("type")):
                continue
            found = radiometry(
                item["id"],
                key,
                rule=rule,
                item=item["properties"],
                fields=asset,
                collection=item["collection"],
            )
            assert not found.contradictory, (name, key, str(found))
            compared += len(found.sources) == 2
    assert compared > 35


def test_hls_thermal_bands_depend_on_the_product():
    for collection, unit in (("HLSL30_2.0", "degree Celsius"), ("HLSS30_2.0", None)):
        found = radiometry("x", "B10", rule="hls-v2", collection=collection).calibration()
        assert found.unit == unit
    with pytest.raises(QueryError, match="L30 from S30"):
        radiometry("x", "B10", rule="hls-v2").calibration()
    assert radiometry("x", "Fmask", rule="hls-v2").calibration() is None


def test_alphaearth_is_squared_with_its_sign():
    stored = np.array([-127, -64, 0, 64, 127], "int8")
    expected = [-((127 / 127.5) ** 2), -((64 / 127.5) ** 2), 0, (64 / 127.5) ** 2, (127 / 127.5) ** 2]
    values = radiometry("x", "image", rule="alphaearth-v1").calibration().apply(stored)
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_stac_is_read_in_both_forms_and_by_band():
    assert stac_calibration(BAND).offsets == (-0.1,)
    assert stac_calibration({"bands": [{"raster:scale": 0.5}, {"raster:scale": 0.5}]}).scales == (0.5,)
    assert stac_calibration({"raster:scale": 2, "bands": [{"name": "a"}]}).scales == (2.0,)
    several = stac_calibration({"raster:bands": [{"scale": 0.5}, {"scale": 0.25, "offset": 1}]})
    assert (several.scales, several.offsets) == ((0.5, 0.25), (0.0, 1.0))
    np.testing.assert_array_equal(several.apply(np.full((2, 1, 2), 4, "uint8"), band_axis=0), [[[2, 2]], [[2, 2]]])
    assert stac_calibration({"raster:bands": [{"nodata": 0}]}) is None
    assert stac_calibration({}) is None


def test_the_tiff_counts_and_one_and_zero_say_nothing():
    assert linear(radiometry("x", "a", tiff=([0.01], [5.0]))) == ((0.01,), (5.0,))
    assert radiometry("x", "a", tiff=([1.0, 1.0], [0.0, 0.0])).calibration() is None
    found = radiometry("x", "a", fields=BAND, tiff=([0.0001], [0.0]))
    with pytest.raises(QueryError, match=r"the TIFF: scale 0\.0001, offset 0"):
        found.calibration()


def test_all_assets_of_a_scene_are_judged_by_the_rule_of_its_collection(corpus_item):
    item = corpus_item("stac-utils+rustac__two-sentinel-2-items.json")
    [scene] = resolve(item, assets=["red", "SCL", "AOT"])
    rule = load_catalog().of_collection(scene.collection).radiometry
    assert rule == "sentinel-2-l2a"
    found = {
        asset.name: radiometry(
            scene.id, asset.name, rule=rule, item=scene.properties, fields=asset.properties, collection=scene.collection
        )
        for asset in scene.assets
    }
    assert linear(found["red"]) == ((1e-4,), (-0.1,))
    assert linear(found["AOT"]) == ((0.001,), (0.0,))
    assert found["SCL"].calibration() is None
    assert load_catalog().of_collection("unheard-of") is None
    assert load_catalog().of_collection(None) is None


def test_scales_written_as_float32_still_agree():
    found = radiometry("x", "a", fields=BAND, tiff=([float(np.float32(0.0001))], [float(np.float32(-0.1))]))
    assert not found.contradictory


def test_numbers_that_cannot_scale_are_refused():
    for scale in (0.0, float("nan"), float("inf")):
        with pytest.raises(QueryError):
            Calibration(origin="tiff", statement="x", scales=(scale,))
    with pytest.raises(QueryError, match="sentinel-2-l2a"):
        radiometry("x", "a", rule="nope")
    with pytest.raises(QueryError, match="axis of 2 bands"):
        Calibration(origin="tiff", statement="x", scales=(1.0, 2.0), offsets=(0.0, 0.0)).apply(
            np.zeros((3, 3), "uint8")
        )
