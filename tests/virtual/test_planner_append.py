"""Plans that append to a set: old rows stay where they are, new ones come after them, whatever they bring."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from rasteret_refs.errors import LayoutError
from rasteret_refs.virtual.planner import plan
from tests.virtual.plain_refs import existing_of, opened, references, scene_of
from tests.virtual.tiffs import UTM, pixels, read, write

OTHER = {"crs": "EPSG:32643", "transform": from_origin(700000, 1500000, 10, 10)}


def append(first, scenes, **options):
    base = references(first)
    second = plan(scenes, existing=existing_of(base), **options)
    return second, references(second, base)


def test_new_scenes_come_after_the_old_ones_even_when_they_are_earlier(tmp_path):
    paths = [write(tmp_path / f"{i}.tif", pixels(i, (1, 130, 150)), overviews=(2,), **UTM) for i in range(4)]
    first = plan([scene_of({"a": paths[i]}, f"s{i}", f"2024-01-0{9 - i}") for i in range(2)])
    second, refs = append(first, [scene_of({"a": paths[i]}, f"s{i}", f"2023-01-0{9 - i}") for i in (2, 3)])
    assert [(p.scene_id, p.group, p.index) for p in second.placements] == [("s3", "factor_1", 2), ("s2", "factor_1", 3)]
    for group in second.groups[1:]:
        assert [(array.start, len(array.manifest)) for array in group.arrays] == [
            (2, 2 * (9 if "1" in group.path else 4))
        ]
        assert {"x", "y", "spatial_ref"}.isdisjoint(coordinate.name for coordinate in group.coordinates)
    for factor, level in ((1, None), (2, 0)):
        dataset = opened(refs, f"factor_{factor}")
        assert dataset.id.values.tolist() == ["s1", "s0", "s3", "s2"]
        days = dataset.time.values.astype("datetime64[D]").astype(str).tolist()
        assert days == ["2024-01-08", "2024-01-09", "2023-01-06", "2023-01-07"]
        for row, number in enumerate((1, 0, 3, 2)):
            np.testing.assert_array_equal(dataset.a[row].values, read(paths[number], level, 1))
        assert dataset.rio.crs.to_epsg() == 32643


def test_a_new_asset_a_new_profile_and_a_new_grid_find_their_places(tmp_path):
    old = write(tmp_path / "old.tif", pixels(0, (1, 130, 150)), nodata=3, **UTM)
    lzw = write(tmp_path / "lzw.tif", pixels(1, (1, 130, 150)), compress="lzw", nodata=3, **UTM)
    rgb = write(tmp_path / "rgb.tif", pixels(2, (3, 130, 150), "uint8"), overviews=(2,), **UTM)
    far = write(tmp_path / "far.tif", pixels(3, (1, 130, 150)), **OTHER)
    first = plan([scene_of({"a": old}, "0")], axis="scene")
    second, refs = append(first, [scene_of({"a": lzw, "rgb": rgb, "far": far}, "1")])
    places = {p.asset: p for p in second.placements}
    assert places["a"].array.startswith("a__")
    assert places["far"].group == "32643_700000_1500000_10/factor_1"
    dataset = opened(refs, "factor_1")
    assert dataset.sizes["scene"] == 2
    np.testing.assert_array_equal(dataset.a[0].values, read(old, band=1))
    assert (dataset.a[1].values == 3).all()
    np.testing.assert_array_equal(dataset[places["a"].array][1].values, read(lzw, band=1))
    assert (dataset[places["a"].array][0].values == 3).all()
    np.testing.assert_array_equal(dataset.rgb[1].values, read(rgb))
    assert (dataset.rgb[0].values == 0).all()
    overview = opened(refs, "factor_2")
    assert overview.id.values.tolist() == ["0", "1"]
    np.testing.assert_array_equal(overview.rgb[1].values, read(rgb, 0))
    np.testing.assert_array_equal(opened(refs, places["far"].group).far[0].values, read(far, band=1))


def test_an_appended_asset_with_other_bands_gets_a_band_dimension_of_its_own(tmp_path):
    three = write(tmp_path / "3.tif", pixels(0, (3, 70, 80), "uint8"), **UTM)
    four = write(tmp_path / "4.tif", pixels(1, (4, 70, 80), "uint8"), **UTM)
    first = plan([scene_of({"a": three}, "0")], axis="scene")
    second, refs = append(first, [scene_of({"a": three, "b": four}, "1"), scene_of({"a": four}, "2")])
    dataset = opened(refs, "factor_1")
    assert dataset.a.dims[1] == "band"
    assert dataset.b.dims[1] == "b_band"
    variant = next(p.array for p in second.placements if p.scene_id == "2")
    assert dataset[variant].dims[1] == f"{variant}_band"
    np.testing.assert_array_equal(dataset[variant][2].values, read(four))
    np.testing.assert_array_equal(dataset.a[1].values, read(three))


def test_what_was_constant_becomes_a_coordinate_when_a_new_scene_differs(tmp_path):
    paths = [
        write(tmp_path / f"{i}.tif", pixels(i, (1, 70, 80)), scales=(s,), nodata=n, **UTM)
        for i, (s, n) in enumerate(((0.1, 0), (0.2, 7), (0.1, 0)))
    ]
    first = plan([scene_of({"a": paths[0]}, "0")], axis="scene")
    _, refs = append(first, [scene_of({"a": paths[1]}, "1")])
    dataset = opened(refs, "factor_1")
    assert dataset.a_scale.values.tolist() == [0.1, 0.2]
    assert dataset.a_nodata.values.tolist() == [0, 7]
    assert "nodata" not in dataset.a.attrs
    third = plan([scene_of({"a": paths[2]}, "2")], existing=existing_of(refs))
    dataset = opened(references(third, refs), "factor_1")
    assert dataset.a_scale.values.tolist() == [0.1, 0.2, 0.1]
    assert "nodata" not in dataset.a.attrs


def test_columns_and_ids_keep_their_dtype_while_they_fit_and_missing_columns_are_empty(tmp_path):
    path = write(tmp_path / "a.tif", pixels(0, (1, 70, 80)), **UTM)
    first = plan([scene_of({"a": path}, "s" * 20)], axis="scene", scene_columns={"split": ["train"], "cloud": [1.5]})
    wide = next(c for c in first.groups[1].coordinates if c.name == "id").values.dtype
    second, refs = append(first, [scene_of({"a": path}, "s" * 28)], scene_columns={"note": ["x"]})
    ids = next(c for c in second.groups[1].coordinates if c.name == "id")
    assert ids.values.dtype == wide
    dataset = opened(refs, "factor_1")
    assert dataset.split.values.tolist() == ["train", ""]
    assert dataset.note.values.tolist() == ["", "x"]
    np.testing.assert_array_equal(dataset.cloud.values, [1.5, np.nan])
    with pytest.raises(LayoutError, match="split"):
        append(first, [scene_of({"a": path}, "t")], scene_columns={"split": [1]})


def test_masks_of_old_rows_say_valid_when_a_mask_comes_later(tmp_path):
    mask = np.where(pixels(9, (70, 80)) > 60, 255, 0).astype("uint8")
    plain = write(tmp_path / "p.tif", pixels(0, (1, 70, 80), "uint8"), **UTM)
    masked = write(tmp_path / "m.tif", pixels(1, (1, 70, 80), "uint8"), mask=mask, **UTM)
    _, refs = append(plan([scene_of({"a": plain}, "0")], axis="scene"), [scene_of({"a": masked}, "1")])
    dataset = opened(refs, "factor_1")
    for row, path in enumerate((plain, masked)):
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(dataset.a_mask[row].values, file.dataset_mask())


def test_stacks_with_a_tolerance_grow_at_their_end(tmp_path):
    shapes = [(130, 150), (128, 149), (64, 64)]
    paths = [
        write(
            tmp_path / f"{i}.tif",
            pixels(i, (1, *shape)),
            crs="EPSG:32643",
            transform=from_origin(600000 + i, 1500000, 10, 10),
        )
        for i, shape in enumerate(shapes)
    ]
    first = plan([scene_of({"a": paths[0]}, "0", "2024-01-01")], layout="stack", tolerance=0.1)
    second, refs = append(first, [scene_of({"a": paths[i]}, str(i), "2023-01-01") for i in (1, 2)])
    assert {p.scene_id: (p.group, p.index) for p in second.placements} == {
        "1": ("130x150/factor_1", 1),
        "2": ("64x64/factor_1", 0),
    }
    dataset = opened(refs, "130x150/factor_1")
    np.testing.assert_array_equal(dataset.a[0].values, read(paths[0], band=1))
    np.testing.assert_array_equal(dataset.a[1, :128, :149].values, read(paths[1], band=1))
    assert dataset.height.values.tolist() == [130, 128]
    assert dataset.transform[:, 2].values.tolist() == [600000, 600001]


def test_appending_to_a_set_of_another_origin_raises(tmp_path):
    with pytest.raises(LayoutError, match="another origin"):
        existing_of({".zgroup": '{"zarr_format": 2}'})
