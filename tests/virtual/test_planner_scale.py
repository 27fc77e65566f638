"""Plans of thousands of scenes: few arrays, in little time, and the same whatever the order of the input."""

import dataclasses
import json
import time

import numpy as np
import pytest

from rasteret_refs.tiff.values import Role, TiffImage
from rasteret_refs.virtual.planner import plan
from rasteret_refs.virtual.values import Level, PlannedScene, Pyramid, SceneAsset
from tests.virtual.plain_refs import parsed, references, scene_of
from tests.virtual.tiffs import UTM, pixels, write

START = np.datetime64("2024-01-01", "us")


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    path = write(tmp_path_factory.mktemp("scale") / "a.tif", pixels(0, (1, 64, 64)), **UTM)
    return parsed(path).images[0].description


class Headers:
    """Headers of big COGs that were never written; equal descriptions are one object, as parsing gives them."""

    def __init__(self, template):
        self.template = template
        self.known = {}

    def image(self, width, height, geo, role):
        key = (width, height, geo, role)
        if key not in self.known:
            self.known[key] = dataclasses.replace(
                self.template, width=width, height=height, geo=geo, role=role, chunk_width=512, chunk_height=512
            )
        count = self.known[key].chunk_count
        offsets = 1000 + 100 * np.arange(count, dtype=np.int64)
        sizes = np.full(count, 90, np.int64)
        return TiffImage(description=self.known[key], offsets=offsets, byte_counts=sizes, ifd_offset=8, page=0)

    def scene(self, number, width, height, geo, factors=(1, 2, 4, 8, 16)):
        levels = tuple(
            Level(
                factor=factor,
                image=self.image(
                    width // factor,
                    height // factor,
                    geo if factor == 1 else None,
                    Role.IMAGE if factor == 1 else Role.OVERVIEW,
                ),
            )
            for factor in factors
        )
        url = f"https://example.com/{number}.tif"
        asset = SceneAsset(name="a", url=url, size=10**9, pyramids=(Pyramid(name="image", levels=levels),))
        return PlannedScene(id=f"s{number:05d}", time=START + np.timedelta64(number, "h"), assets=(asset,))


def moved(geo, number):
    return dataclasses.replace(geo, tiepoints=(0.0, 0.0, 0.0, 300000.0 + number, 4000000.0 + 30 * number, 0.0))


def timed(scenes, **options):
    plan(scenes[:2], **options)  # imports and PROJ's own start
    begin = time.perf_counter()
    planned = plan(scenes, **options)
    return planned, time.perf_counter() - begin


def test_two_thousand_cogs_of_one_grid_take_well_under_a_millisecond_each(template):
    headers = Headers(template)
    planned, seconds = timed([headers.scene(number, 5490, 5490, template.geo) for number in range(2000)])
    assert len(planned.groups) == 6
    assert sum(len(array.manifest) for group in planned.groups for array in group.arrays) == 2000 * (
        121 + 36 + 9 + 4 + 1
    )
    assert seconds < 2  # 0.1 s on an idle core; the bound is for crowded ones


def test_ten_thousand_scenes_with_grids_and_shapes_of_their_own_make_few_arrays(template):
    headers = Headers(template)
    scenes = [
        headers.scene(number, 7600 + number % 230, 7700 + number * 7 % 190, moved(template.geo, number), (1, 4, 16))
        for number in range(10_000)
    ]
    planned, seconds = timed(scenes)
    assert planned.layout == "stack"
    files = sum(len(group.arrays) + len(group.coordinates) for group in planned.groups)
    assert files <= 30
    assert len(planned.placements) == 10_000
    assert seconds < 20


def test_the_same_scenes_in_any_order_give_the_same_references(tmp_path):
    paths = [write(tmp_path / f"{i}.tif", pixels(i, (1, 70 + i % 2, 80)), nodata=i % 3, **UTM) for i in range(6)]
    scenes = [scene_of({"a": path}, f"s{i}", f"2024-01-0{1 + i // 2}") for i, path in enumerate(paths)]
    column = np.array([f"c{i}" for i in range(6)])
    expected = json.dumps(references(plan(scenes, scene_columns={"c": column})))
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(6)
        found = plan([scenes[i] for i in order], scene_columns={"c": column[order]})
        assert json.dumps(references(found)) == expected
