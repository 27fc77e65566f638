"""Plans of the `stack` layout and the choice between layouts."""

import numpy as np
import pytest
import rasterio
from rasterio.transform import from_origin

from rasteret_refs.errors import LayoutError
from rasteret_refs.virtual.buckets import buckets
from rasteret_refs.virtual.planner import plan
from tests.virtual.plain_refs import existing_of, opened, references, scene_of
from tests.virtual.tiffs import pixels, read, write


def own_grid(tmp_path, number, shape=(130, 150), **options):
    place = {"crs": f"EPSG:{32601 + number % 60}", "transform": from_origin(500000 + 30 * number, 4000000, 30, 30)}
    return write(tmp_path / f"{number}.tif", pixels(number, (1, *shape)), **place, **options)


def test_scenes_with_grids_of_their_own_share_an_array_with_crs_and_transform_beside(tmp_path):
    paths = [own_grid(tmp_path, number, overviews=(2,)) for number in range(3)]
    scenes = [scene_of({"dem": path}, f"s{i}", f"2024-01-0{i + 1}") for i, path in enumerate(paths)]
    planned = plan(scenes, layout="stack")
    assert [group.path for group in planned.groups] == ["", "130x150", "130x150/factor_1", "130x150/factor_2"]
    for factor, level in ((1, None), (2, 0)):
        dataset = opened(planned, f"130x150/factor_{factor}")
        assert dataset.dem.dims == ("scene", "y", "x")
        assert {"id", "time", "crs", "transform"} == set(dataset.coords)
        for row, path in enumerate(paths):
            with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
                assert rasterio.crs.CRS.from_user_input(str(dataset.crs[row].item())) == file.crs
                assert dataset.transform[row].values.tolist() == list(file.transform[:6])
                np.testing.assert_array_equal(dataset.dem[row].values, file.read(1))


def test_with_a_tolerance_images_of_similar_shapes_are_padded_into_one_array(tmp_path):
    shapes = [(130, 150), (128, 155), (131, 140)]
    paths = [own_grid(tmp_path, i, shape, nodata=9) for i, shape in enumerate(shapes)]
    planned = plan(
        [scene_of({"dem": p}, str(i)) for i, p in enumerate(paths)], layout="stack", axis="scene", tolerance=0.15
    )
    assert [group.path for group in planned.groups] == ["", "131x155", "131x155/factor_1"]
    dataset = opened(planned, "131x155/factor_1")
    for row, (path, (height, width)) in enumerate(zip(paths, shapes, strict=True)):
        assert (dataset.height[row].item(), dataset.width[row].item()) == (height, width)
        np.testing.assert_array_equal(dataset.dem[row, :height, :width].values, read(path, band=1))
    # 128 rows are two rows of tiles: the third of the array has no tile of that image, so it is nodata.
    assert (dataset.dem[1, 128:].values == 9).all()


def test_without_a_tolerance_each_shape_has_its_own_group(tmp_path):
    paths = [own_grid(tmp_path, i, shape) for i, shape in enumerate([(130, 150), (128, 155)])]
    planned = plan([scene_of({"dem": p}, str(i)) for i, p in enumerate(paths)], layout="stack", axis="scene")
    assert {group.path for group in planned.groups if "/" in group.path} == {"130x150/factor_1", "128x155/factor_1"}


def test_many_shapes_are_padded_unless_the_caller_says_otherwise(tmp_path):
    paths = [own_grid(tmp_path, i, (64 + i, 80)) for i in range(17)]
    scenes = [scene_of({"a": path}, str(i)) for i, path in enumerate(paths)]
    padded = plan(scenes, layout="stack", axis="scene")
    assert len({p.group for p in padded.placements}) == 1
    for placement, path in zip(padded.placements[:2], paths[:2], strict=True):
        found = opened(padded, placement.group).a[placement.index]
        with rasterio.open(path) as file:
            np.testing.assert_array_equal(found[: file.height, : file.width].values, file.read(1))
    assert len({p.group for p in plan(scenes[:16], layout="stack", axis="scene").placements}) == 16
    assert len({p.group for p in plan(scenes, layout="stack", axis="scene", tolerance=0.0).placements}) == 17


def test_two_grids_of_one_scene_and_shape_never_share_a_transform(tmp_path):
    paths = [own_grid(tmp_path, i) for i in range(2)]
    planned = plan([scene_of({"a": paths[0], "b": paths[1]})], layout="stack", axis="scene")
    for placement, path in zip(planned.placements, paths, strict=True):
        dataset = opened(planned, placement.group)
        with rasterio.open(path) as file:
            assert dataset.transform[0].values.tolist() == list(file.transform[:6])
            np.testing.assert_array_equal(dataset[placement.array][0].values, file.read(1))


def test_auto_stacks_many_grids_with_few_scenes_each_and_only_those(tmp_path):
    paths = [own_grid(tmp_path, number, (64, 64)) for number in range(65)]
    scenes = [scene_of({"a": path}, str(i)) for i, path in enumerate(paths)]
    assert plan(scenes[:64], axis="scene").layout == "grids"
    assert plan(scenes, axis="scene").layout == "stack"
    many = [scene_of({"a": path}, f"{i}-{k}") for i, path in enumerate(paths) for k in range(8)]
    assert plan(many, axis="scene").layout == "grids"


def test_an_asset_called_like_a_coordinate_of_stacks_is_refused_only_there(tmp_path):
    scenes = [scene_of({"height": own_grid(tmp_path, 0)})]
    assert plan(scenes, axis="scene", layout="grids").refused == ()
    refused = plan(scenes, axis="scene", layout="stack").refused
    assert refused[0][:2] == ("scene", "height")
    assert "rename" in refused[0][2]


@pytest.mark.parametrize("tolerance", [0.02, 0.1, 0.25])
def test_buckets_pad_no_image_by_more_than_the_tolerance(tolerance):
    shapes = [tuple(pair) for pair in np.random.default_rng(0).integers(7000, 8200, (500, 2)).tolist()]
    found = buckets(shapes, tolerance)
    assert set(found) == set(shapes)
    for (height, width), (tall, broad) in found.items():
        assert tall >= height
        assert broad >= width
        assert tall * broad <= (1 + tolerance) * height * width
    assert len(set(found.values())) < len(set(shapes)) / 3
    assert buckets(shapes[::-1], tolerance) == found


def test_buckets_fill_arrays_that_exist_before_making_new_ones():
    found = buckets([(100, 100), (50, 50)], 0.1, existing=[(104, 104)])
    assert found == {(100, 100): (104, 104), (50, 50): (50, 50)}


@pytest.mark.parametrize("tolerance", [-0.1, 0.3, float("nan")])
def test_a_tolerance_beyond_a_quarter_raises(tolerance):
    with pytest.raises(LayoutError, match=r"between 0 and 0\.25"):
        buckets([(1, 1)], tolerance)


def test_sizes_are_told_only_once_an_image_is_smaller_than_its_array(tmp_path):
    shapes = [(131, 155), (131, 155), (128, 150)]
    paths = [own_grid(tmp_path, i, shape, overviews=(2,)) for i, shape in enumerate(shapes)]
    scenes = [scene_of({"dem": path}, str(i)) for i, path in enumerate(paths)]
    first = plan(scenes[:2], layout="stack", axis="scene", tolerance=0.25)
    base = references(first)
    assert {"height", "width"}.isdisjoint(opened(base, "131x155/factor_1").coords)
    refs = references(plan(scenes[2:], existing=existing_of(base)), base)
    for factor, level in ((1, None), (2, 0)):
        dataset = opened(refs, f"131x155/factor_{factor}")
        for row, path in enumerate(paths):
            with rasterio.open(path, **({} if level is None else {"overview_level": level})) as file:
                assert (dataset.height[row].item(), dataset.width[row].item()) == file.shape
                np.testing.assert_array_equal(dataset.dem[row, : file.height, : file.width].values, file.read(1))
