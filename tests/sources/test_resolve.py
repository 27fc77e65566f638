"""The one door: telling sources apart, lists of them, recipes."""

import dataclasses
import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rasteret_refs.build.scene import Asset, Scene
from rasteret_refs.errors import AccessError, SourceError
from rasteret_refs.sources import arrow_files
from rasteret_refs.sources.resolve import resolve, resolve_recipe


def test_scenes_are_a_source_of_themselves():
    scene = Scene(id="x", assets=(Asset(name="image", href="/x.tif"),))
    assert list(resolve(scene)) == [scene]
    stream = resolve([scene, dataclasses.replace(scene, id="y")])
    assert [one.id for one in stream] == ["x", "y"]
    assert stream.axis == "scene"
    with pytest.raises(SourceError, match="in memory"):
        resolve_recipe(stream.recipe)


def test_several_sources_of_one_kind_are_read_in_turn(item, tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(item(1)))
    pq.write_table(pa.table({"href": ["https://h/t.tif"], "datetime": ["2024-01-01"]}), tmp_path / "two.parquet")
    stream = resolve([tmp_path / "one.json", tmp_path / "two.parquet"])
    assert [scene.id for scene in stream] == ["item-0001", "t"]
    assert stream.recipe["kind"] == "several"
    again = resolve_recipe(json.loads(json.dumps(stream.recipe)))
    assert [scene.id for scene in again] == ["item-0001", "t"]


def test_sources_with_and_without_times_do_not_mix(item, tmp_path):
    (tmp_path / "one.json").write_text(json.dumps(item(1)))
    with pytest.raises(SourceError, match="both in one list"):
        resolve([str(tmp_path / "one.json"), "https://h.example/a.tif"])


@pytest.mark.parametrize("source", [[], 7, None, {"type": "Catalog"}])
def test_what_is_no_source_is_refused(source):
    with pytest.raises(SourceError):
        resolve(source)


def test_a_reference_set_is_no_source(tmp_path):
    (tmp_path / "refs.json").write_text("{}")
    with pytest.raises(SourceError, match=r"rr\.open"):
        resolve(tmp_path)


def test_urls_without_an_ending_are_images_unless_they_look_like_an_api():
    assert resolve("https://h.example/images/17").recipe["kind"] == "files"
    assert resolve("https://h.example/api/stac/v1").recipe["kind"] == "stac"
    assert resolve("https://h.example/things", collections=["a"]).recipe["kind"] == "stac"


def test_a_recipe_holds_no_secret_and_signed_sources_lose_their_signature():
    stream = resolve(
        "https://x.blob.core.windows.net/c/items.json?sig=SECRET&sv=1", storage={"s3://b/": {"token": "SECRET"}}
    )
    assert "SECRET" not in json.dumps(stream.recipe)
    with pytest.raises(SourceError) as caught:
        resolve("https://h/stac/v1?token=SECRET")
    assert "SECRET" not in str(caught.value)


def test_equal_calls_give_equal_recipes(item):
    arguments = {"bbox": (0, 0, 1, 1), "query": {"a": {"lt": 1}}, "assets": {"r": "red"}}
    first, second = (resolve("https://h/stac/v1", collections=["c"], **arguments).recipe for _ in range(2))
    assert json.dumps(first) == json.dumps(second)


def test_paid_prefixes_are_refused_for_plain_urls_and_globs_too():
    with pytest.raises(AccessError, match="reader pays"):
        list(resolve("s3://usgs-landsat/a.TIF"))
    with pytest.raises(AccessError, match="reader pays"):
        resolve("s3://usgs-landsat/a/*.TIF")


def test_the_storage_extension_says_that_the_reader_pays(item):
    first, second = item(1), item(2)
    for one in (first, second):
        one["assets"] = {"a": {"href": "s3://some-bucket/a.tif", "type": "image/tiff", "roles": ["data"]}}
    first["properties"]["storage:requester_pays"] = True
    second["properties"]["storage:schemes"] = {"aws": {"type": "aws-s3", "requester_pays": True}}
    second["assets"]["a"]["storage:refs"] = ["aws"]
    third = json.loads(json.dumps(second))
    third["properties"]["storage:schemes"]["own"] = {"type": "custom-s3", "requester_pays": False}
    third["assets"]["a"]["storage:refs"] = ["own", "aws"]
    assert len(list(resolve(third))) == 1
    for one in (first, second):
        with pytest.raises(AccessError, match="s3://some-bucket/"):
            list(resolve(one))
        assert len(list(resolve(one, storage={"s3://some-bucket/": {"request_payer": True}}))) == 1


def test_a_glob_over_a_bucket_lists_it(monkeypatch):
    asked = []

    def listing(prefix, storage):
        asked.append((prefix, storage))
        return [("x/b.tif", 1), ("a.tif", 1), ("a.txt", 1)]

    monkeypatch.setattr("rasteret_refs.sources.fetching.list_objects", listing)
    scenes = list(resolve("s3://bucket/data/**/*.tif", storage={"s3://bucket/": "anonymous"}))
    assert [scene.assets[0].href for scene in scenes] == ["s3://bucket/data/a.tif", "s3://bucket/data/x/b.tif"]
    assert asked == [("s3://bucket/data/", {"s3://bucket/": "anonymous"})]


def test_a_folder_of_parquet_files_in_a_bucket_is_one_table(monkeypatch, server):
    """The bucket is played by the loopback server: keys are fetched from it by ranges."""
    for month in (1, 2):
        sink = pa.BufferOutputStream()
        pq.write_table(pa.table({"id": [f"m{month}"], "href": [f"https://h/{month}.tif"]}), sink)
        base = server.put(f"t/month={month}/p.parquet", sink.getvalue().to_pybytes())
    base = base.rsplit("/t/", 1)[0]
    sizes = [("month=1/p.parquet", 1), ("month=2/p.parquet", 1), ("_SUCCESS", 0)]
    monkeypatch.setattr(arrow_files, "list_objects", lambda prefix, storage: sizes)
    original = arrow_files._ObjectsHandler

    class Redirected(original):
        def __init__(self, objects, known):
            super().__init__(objects, {})

        def _size(self, url):
            return super()._size(url.replace("s3://bucket", base))

        def open_input_file(self, path):
            return super().open_input_file(path.replace("s3://bucket", base))

    monkeypatch.setattr(arrow_files, "_ObjectsHandler", Redirected)
    scenes = list(resolve("s3://bucket/t/"))
    assert [(scene.id, scene.properties["month"]) for scene in scenes] == [("m1", 1), ("m2", 2)]


def test_resolving_plain_files_imports_nothing_heavy():
    code = (
        "import sys; from rasteret_refs.sources.resolve import resolve; resolve('https://h.example/a.tif'); "
        "heavy = ('pandas', 'xarray', 'pystac', 'duckdb', 'pyarrow', 'shapely'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
