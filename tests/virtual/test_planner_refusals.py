"""What the planner refuses by name: assets, columns and references that some reader would misread."""

import odc.geo.xr
import pytest

from rasteret_refs.errors import LayoutError
from rasteret_refs.virtual.planner import plan
from tests.virtual.plain_refs import scene_of
from tests.virtual.tiffs import UTM, pixels, write

assert odc.geo.xr  # registers the accessor

# odc-geo and rioxarray still multiply affines by `*`.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


@pytest.mark.parametrize(
    "name", ["", ".zarray", "a/b", "..", "a b", "x", "Time", "a\nb", "__x", "band", "a?b", "n" * 129]
)
def test_assets_with_names_that_readers_misread_are_refused_by_name(tmp_path, name):
    path = write(tmp_path / "a.tif", pixels(0, (1, 70, 80)), **UTM)
    planned = plan([scene_of({name: path, "good": path})], axis="scene")
    assert [(scene, asset) for scene, asset, _ in planned.refused] == [("scene", name)]
    assert repr(name) in planned.refused[0][2]
    assert [array.name for array in planned.groups[1].arrays] == ["good"]


def test_names_derived_from_another_asset_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", pixels(0, (1, 70, 80)), **UTM)
    planned = plan([scene_of({"red": path, "RED_mask": path, "Red": path})], axis="scene")
    assert {asset for _, asset, _ in planned.refused} == {"RED_mask", "Red"}


def test_columns_with_bad_names_or_lengths_raise(tmp_path):
    scenes = [scene_of({"a": write(tmp_path / "a.tif", pixels(0, (1, 70, 80)), **UTM)})]
    with pytest.raises(LayoutError, match="'x'"):
        plan(scenes, axis="scene", scene_columns={"x": [1]})
    with pytest.raises(LayoutError, match="expected 1 values"):
        plan(scenes, axis="scene", scene_columns={"split": ["a", "b"]})
    with pytest.raises(LayoutError, match="lists"):
        plan([*scenes, *scenes], axis="scene", scene_columns={"split": [["a"], ["b", "c"]]})
    with pytest.raises(LayoutError, match="'crs'"):
        plan(scenes, axis="scene", scene_columns={"crs": ["a"]})
    with pytest.raises(LayoutError, match="layout"):
        plan(scenes, layout="cube")


def test_references_outside_their_object_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", pixels(0, (1, 130, 150)), **UTM)
    scene = scene_of({"a": path})
    short = type(scene.assets[0])(name="a", url="u", size=scene.assets[0].size // 2, pyramids=scene.assets[0].pyramids)
    planned = plan([type(scene)(id="s", assets=(short,))], axis="scene")
    assert planned.placements == ()
    assert "outside the object" in planned.refused[0][2]


def test_a_scene_without_a_time_is_refused_on_the_time_axis(tmp_path):
    path = write(tmp_path / "a.tif", pixels(0, (1, 70, 80)), **UTM)
    planned = plan([scene_of({"a": path}, "dated", "2024-01-01"), scene_of({"a": path}, "undated")])
    assert planned.refused == (("undated", "a", "the scene has no datetime, so it has no place on the time axis"),)
    assert [p.scene_id for p in planned.placements] == ["dated"]
