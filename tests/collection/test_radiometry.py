"""`scale=True`: reflectance per scene by rules that must agree with STAC and the TIFF, or are refused by name."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import rasteret_refs as rr
from rasteret_refs.errors import QueryError
from tests.collection.scenes import item, pixels_of, transform_of, write_cog

BEFORE = datetime(2022, 1, 20, 5, 30, tzinfo=UTC)
AFTER = datetime(2022, 1, 30, 5, 30, tzinfo=UTC)


def sentinel_2(directory: Path, name: str, when: datetime, numbers: Any, bands: Any = None, **properties: Any) -> Any:
    path = write_cog(directory / f"{name}.tif", numbers, transform_of("43PGQ"))
    red = {"href": str(path), "type": "image/tiff; application=geotiff", "roles": ["data"]}
    if bands is not None:
        red["raster:bands"] = bands
    return item(name, {"red": red}, when, collection="sentinel-2-l2a", **properties)


def step(tmp_path: Path, **later: Any) -> tuple[Any, list[Any]]:
    """A scene before 2022-01-25 and one after it of unchanged ground: 1000 was added to the later's numbers."""
    ground = pixels_of(3)
    return ground, [
        sentinel_2(tmp_path, "old", BEFORE, ground, **{"s2:processing_baseline": "03.01"}),
        sentinel_2(tmp_path, "new", AFTER, ground + 1000, **{"s2:processing_baseline": "04.00", **later}),
    ]


@pytest.mark.parametrize("chunks", [None, {}])
def test_reflectance_has_no_step_where_sentinel_2_changed_its_offset(tmp_path, chunks):
    ground, stac = step(tmp_path)
    refs = rr.build(stac, tmp_path / "x.refs")
    stored = refs.to_xarray()["red"]
    assert int(np.abs(np.diff(stored.to_numpy().astype(int), axis=0)).min()) == 1000
    reflectance = refs.to_xarray(scale=True, chunks=chunks)["red"]
    assert reflectance.dtype == np.float32
    assert np.allclose(reflectance.to_numpy(), ground / 10_000, rtol=0, atol=1e-6)
    part = reflectance.isel(time=1, y=slice(3, 9), x=[4, 2])
    assert np.allclose(part.to_numpy(), ground[3:9, [4, 2]] / 10_000, rtol=0, atol=1e-6)
    one = refs.to_xarray(id="new", scale=True)["red"]
    assert np.allclose(one.to_numpy(), ground / 10_000, rtol=0, atol=1e-6)


def test_an_offset_that_earth_search_has_taken_out_is_not_taken_out_again(tmp_path):
    ground = pixels_of(3)
    properties = {"s2:processing_baseline": "05.09", "earthsearch:boa_offset_applied": True}
    stac = [sentinel_2(tmp_path, "new", AFTER, ground, [{"scale": 1e-4, "offset": 0.0}], **properties)]
    scaled = rr.build(stac, tmp_path / "x.refs").to_xarray(scale=True)["red"][0]
    assert np.allclose(scaled.to_numpy(), ground / 10_000, rtol=0, atol=1e-6)


def test_contradictory_sources_raise_naming_scene_and_sources_unless_one_is_trusted(tmp_path):
    ground, stac = step(tmp_path, **{"earthsearch:boa_offset_applied": True})
    stac[1]["assets"]["red"]["raster:bands"] = [{"scale": 1e-4, "offset": -0.1}]
    refs = rr.build(stac, tmp_path / "x.refs")
    refs.to_xarray()  # opens as ever
    with pytest.raises(QueryError) as refusal:
        refs.to_xarray(scale=True)
    for told in ("new, red", "boa_offset_applied true", "raster:bands", "offset -0.1", "scale='rule'"):
        assert told in str(refusal.value)
    by_stac = refs.select(["new"]).to_xarray(scale="stac")["red"][0]
    assert np.allclose(by_stac.to_numpy(), ground / 10_000, rtol=0, atol=1e-6)
    by_rule = refs.select(["new"]).to_xarray(scale="rule")["red"][0]
    assert np.allclose(by_rule.to_numpy(), (ground + 1000) / 10_000, rtol=0, atol=1e-6)
    assert refs.select(["old"]).to_xarray(scale=True)["red"].dtype == np.float32
    with pytest.raises(QueryError, match="one of"):
        refs.to_xarray(scale="guess")


def test_a_flag_that_cannot_be_true_raises(tmp_path):
    properties = {"s2:processing_baseline": "03.01", "earthsearch:boa_offset_applied": True}
    refs = rr.build([sentinel_2(tmp_path, "odd", BEFORE, pixels_of(1), **properties)], tmp_path / "x.refs")
    with pytest.raises(QueryError, match=r"odd, red.*before baseline 04\.00"):
        refs.to_xarray(scale=True)


def test_stac_and_the_tiff_must_agree_as_well(tmp_path):
    path = write_cog(tmp_path / "a.tif", pixels_of(1), transform_of("43PGQ"), scales=[0.5], offsets=[2.0])
    said = {"href": str(path), "type": "image/tiff", "roles": ["data"], "raster:bands": [{"scale": 0.5, "offset": 2.0}]}
    other = {**said, "raster:bands": [{"scale": 0.25}]}
    refs = rr.build([item("agree", {"dem": said}, BEFORE), item("differ", {"dem": other}, AFTER)], tmp_path / "x.refs")
    scaled = refs.select(["agree"]).to_xarray(scale=True)["dem"][0]
    assert np.array_equal(scaled.to_numpy(), (pixels_of(1) * 0.5 + 2).astype(np.float32))
    with pytest.raises(QueryError, match=r"differ, dem.*raster:bands.*the TIFF"):
        refs.to_xarray(scale=True)
    tiff = refs.to_xarray(scale="tiff")["dem"]
    assert np.array_equal(tiff.to_numpy(), np.stack([(pixels_of(1) * 0.5 + 2).astype(np.float32)] * 2))


def test_masking_and_scaling_go_together(tmp_path):
    ground, stac = step(tmp_path)
    stac[0]["assets"]["red"]["href"] = str(
        write_cog(tmp_path / "holes.tif", np.where(ground > 3000, 0, ground).astype(np.uint16), transform_of("43PGQ"))
    )
    refs = rr.build(stac, tmp_path / "x.refs")
    found = refs.to_xarray(scale=True, masked=True)["red"].to_numpy()
    assert np.array_equal(np.isnan(found[0]), ground > 3000)
    assert np.allclose(found[1], ground / 10_000, rtol=0, atol=1e-6)
    kept = ground <= 3000
    assert np.allclose(found[0][kept], ground[kept] / 10_000, rtol=0, atol=1e-6)


def test_a_scene_without_the_asset_needs_no_scale(tmp_path):
    ground, stac = step(tmp_path)
    stac[0]["assets"]["scl"] = {**stac[0]["assets"]["red"], "href": stac[0]["assets"]["red"]["href"]}
    del stac[0]["assets"]["red"]
    refs = rr.build(stac, tmp_path / "x.refs")
    scaled = refs.to_xarray(scale=True, masked=True)
    assert np.isnan(scaled["red"][0].to_numpy()).all()
    assert np.allclose(scaled["red"][1].to_numpy(), ground / 10_000, rtol=0, atol=1e-6)
    assert np.array_equal(scaled["scl"][0].to_numpy(), ground)  # classes have no scale


def test_landsat_s_surface_temperature_is_in_kelvin(tmp_path):
    path = write_cog(tmp_path / "st.tif", pixels_of(1) + 40_000, transform_of("43PGQ"))
    one = item("LC08", {"lwir11": path}, BEFORE, collection="landsat-c2-l2")
    dataset = rr.build([one], tmp_path / "x.refs").to_xarray(scale=True)
    expected = (pixels_of(1).astype(float) + 40_000) * 0.00341802 + 149.0
    assert np.allclose(dataset["lwir11"][0].to_numpy(), expected, rtol=0, atol=1e-4)
    assert dataset["lwir11"].attrs["units"] == "kelvin"


def test_scenes_of_two_products_scale_by_their_own_rules(tmp_path):
    paths = [write_cog(tmp_path / f"{k}.tif", pixels_of(k) + 8000, transform_of("43PGQ")) for k in range(2)]
    refs = rr.build([item("LC08", {"red": paths[0]}, BEFORE, collection="landsat-c2-l2")], tmp_path / "x.refs")
    other = item("S2A", {"red": paths[1]}, AFTER, collection="sentinel-2-l2a", **{"s2:processing_baseline": "04.00"})
    found = refs.append([other]).to_xarray(scale=True)["red"].to_numpy()
    assert np.allclose(found[0], (pixels_of(0).astype(float) + 8000) * 2.75e-5 - 0.2, rtol=0, atol=1e-6)
    assert np.allclose(found[1], (pixels_of(1).astype(float) + 7000) / 10_000, rtol=0, atol=1e-6)


def test_alphaearth_s_embeddings_are_dequantised_with_their_sign(tmp_path, monkeypatch):
    """The rule comes from the recipe, as a build from the catalog records it."""
    numbers = np.random.default_rng(0).integers(-127, 128, (3, 300, 260)).astype(np.int8)
    path = write_cog(tmp_path / "a.tif", numbers, transform_of("43PGQ"), nodata=-128, predictor=1, interleave="band")
    from rasteret_refs.sources.resolve import SceneStream

    class Entry:
        radiometry = "alphaearth-v1"

    original = SceneStream.__init__

    def with_entry(self, *arguments, **options):
        original(self, *arguments, **options)
        self.dataset = Entry()

    monkeypatch.setattr(SceneStream, "__init__", with_entry)
    refs = rr.build([item("one", {"embedding": path}, BEFORE)], tmp_path / "x.refs")
    assert refs.refset.seal.recipe["radiometry"] == "alphaearth-v1"
    found = refs.to_xarray(scale=True, masked=True)["embedding"][0].to_numpy()
    exact = numbers.astype(float) / 127.5
    assert np.allclose(found, np.sign(exact) * exact**2, rtol=0, atol=1e-7)
    assert found.min() < -0.9
    chunked = refs.to_xarray(scale=True, masked=True, chunks={})["embedding"][0].to_numpy()
    assert np.array_equal(chunked, found)
