"""Collections that grow: recorded searches asked again, other sources, relocation, and the corpus's real STAC items."""

import copy
import hashlib
import json
from datetime import timedelta

import pytest
import rasterio

import rasteret_refs as rr
from rasteret_refs.errors import QueryError, RasteretRefsError, RefsetError, SourceError
from tests.build.test_append import cogs, state  # noqa: F401 - a fixture
from tests.build.test_merge import item
from tests.build.test_scan import write_cog


def write_items(path, items):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return path


def things(server, numbers, **properties):
    return [
        item(f"i{n}", "things", "red", f"{server.url}{n % 6}.tif", f"2024-01-{n + 1:02}T00:00:00Z", **properties)
        for n in numbers
    ]


def test_the_recorded_search_is_asked_again_with_an_overlap(cogs, tmp_path, server):  # noqa: F811
    source = write_items(tmp_path / "items.json", things(server, [0, 2, 4, 20]))
    collection = rr.build(source, tmp_path / "x.refs", datetime="2024-01-01/..")
    late = things(server, [19])[0]
    replaced = things(server, [20], updated="2024-03-01T00:00:00Z")[0]
    replaced["assets"]["red"]["href"] = f"{server.url}5.tif"
    too_late = things(server, [1])[0]
    write_items(source, [*things(server, [0, 2, 4]), too_late, late, replaced, *things(server, [25])])
    server.reset()
    grown = collection.append(overlap=timedelta(days=10))
    report = grown.append_report
    assert report.appended == ("i19", "i20~2", "i25")
    assert (report.late, report.replaced, report.requests) == (("i19",), ("i20~2",), 3)
    assert grown.refset.seal.recipe["arguments"]["datetime"] == "2024-01-01/.."
    assert grown.append().append_report.appended == ("i1",)
    assert grown.append().append_report.rewritten == 0


def test_a_later_interval_is_asked_for_and_recorded(cogs, tmp_path, server):  # noqa: F811
    source = write_items(tmp_path / "items.json", things(server, range(20)))
    collection = rr.build(source, tmp_path / "x.refs", datetime="2024-01-01/2024-01-05")
    assert len(collection) == 5
    grown = collection.append(datetime="2024-01-06/2024-01-08")
    assert len(grown) == 8
    recorded = grown.refset.seal.recipe["arguments"]["datetime"]
    assert recorded == "2024-01-01T00:00:00Z/2024-01-08T23:59:59.999999Z"


def test_a_recorded_limit_must_be_lifted(cogs, tmp_path, server):  # noqa: F811
    source = write_items(tmp_path / "items.json", things(server, range(6)))
    collection = rr.build(source, tmp_path / "x.refs", limit=3)
    before = state(tmp_path / "x.refs")
    with pytest.raises(SourceError, match="limit"):
        collection.append()
    assert state(tmp_path / "x.refs") == before
    assert len(collection.append(limit=None)) == 6


def test_scenes_of_another_source_are_appended_and_recorded(cogs, tmp_path):  # noqa: F811
    collection = rr.build([str(cogs[0])], tmp_path / "x.refs")
    grown = collection.append([str(path) for path in cogs[1:3]])
    assert grown.scenes["id"].to_pylist() == ["0", "1", "2"]
    (appended,) = grown.refset.seal.recipe["appended"]
    assert appended["source"] == [str(path) for path in cogs[1:3]]


def test_a_value_in_memory_cannot_be_asked_again(cogs, tmp_path, server):  # noqa: F811
    collection = rr.build(things(server, range(2)), tmp_path / "x.refs")
    with pytest.raises(SourceError, match="in memory"):
        collection.append()


def test_relocated_references_lead_elsewhere_without_a_request(cogs, tmp_path, server):  # noqa: F811
    source = write_items(tmp_path / "items.json", things(server, range(3)))
    collection = rr.build(source, tmp_path / "x.refs")
    server.reset()
    with pytest.raises(QueryError, match="elsewhere"):
        collection.relocate({"https://elsewhere/": "https://there/"})
    moved = collection.relocate({server.url: f"{tmp_path}/"})
    assert server.stats().requests == 0
    assert moved.refset.seal.sources == (f"{tmp_path}/",)
    with rasterio.open(cogs[1]) as file:
        assert (moved.to_xarray(id="i1")["red"].to_numpy() == file.read(1)).all()
    assert server.stats().requests == 0


def test_ids_that_are_not_there_cannot_be_dropped(cogs, tmp_path, server):  # noqa: F811
    collection = rr.build(things(server, range(3)), tmp_path / "x.refs")
    before = state(tmp_path / "x.refs")
    with pytest.raises(QueryError, match="nonsense"):
        collection.drop(["i0", "nonsense"])
    assert state(tmp_path / "x.refs") == before
    assert collection.drop("i1").to_xarray().sizes["time"] == 2


def test_remote_sets_cannot_be_changed(cogs, tmp_path, server):  # noqa: F811
    rr.build(things(server, range(2)), tmp_path / "x.refs")
    remote = rr.open(f"{server.url}x.refs")
    for change in (lambda: remote.append("a.tif"), lambda: remote.drop("i0"), lambda: remote.relocate({"a": "b"})):
        with pytest.raises(RefsetError, match="local"):
            change()


def test_the_same_source_twice_makes_the_same_bytes(cogs, tmp_path, server):  # noqa: F811
    source = write_items(tmp_path / "items.json", things(server, range(12)))
    for name in ("x", "y"):
        rr.build(source, tmp_path / f"{name}.refs")
    assert state(tmp_path / "x.refs") == state(tmp_path / "y.refs")


def corpus_items(corpus):
    """All items of the corpus's documents, with their file's name."""
    for path in sorted((corpus / "stac").iterdir()):
        document = json.loads(path.read_text())
        members = document if isinstance(document, list) else document.get("features", [document])
        for member in members:
            yield path.name, member


def served(document, server, cog):
    """The item with its assets' hrefs led to the loopback server, where each TIFF is the same small one."""
    document = copy.deepcopy(document)
    for asset in (document.get("assets") or {}).values():
        if isinstance(asset, dict) and isinstance(asset.get("href"), str):
            name = hashlib.sha256(asset["href"].encode()).hexdigest()[:16]
            path = asset["href"].partition("?")[0].lower()
            if path.endswith((".tif", ".tiff")) or "tiff" in str(asset.get("type", "")).lower():
                asset["href"] = server.put(f"{name}.tif", cog)
    return document


def test_every_real_item_becomes_a_scene_or_a_named_failure(corpus, tmp_path, server):
    cog = write_cog(tmp_path / "sample.tif", size=300, block=128, overviews=(2,)).read_bytes()
    items = [served(member, server, cog) for name, member in corpus_items(corpus) if member.get("type") == "Feature"]
    assert len(items) > 80
    collection = rr.build(items, tmp_path / "x.refs", on_error="skip")
    table = collection.scenes
    scenes = set(table["id"].to_pylist())
    failures = collection.report.failures
    assert all(isinstance(failure.error, RasteretRefsError) and str(failure.error) for failure in failures)
    failed = {failure.scene for failure in failures}
    lost = [one.get("id") for one in items if one.get("id") not in scenes | failed]
    assert lost == []
    assert len(scenes) > 0.6 * len({one.get("id") for one in items})
    print(f"{len(items)} items: {len(scenes)} scenes, {len(failures)} failures")
    collection.verify()


def test_a_search_asked_again_after_a_relocation_finds_no_scene_replaced(cogs, tmp_path, server):  # noqa: F811
    source = write_items(tmp_path / "items.json", things(server, [0, 1, 2]))
    collection = rr.build(source, tmp_path / "x.refs")
    moved = collection.relocate({server.url: f"{tmp_path}/"})
    write_items(source, things(server, [0, 1, 2, 3]))
    grown = moved.append()
    assert (grown.append_report.appended, grown.append_report.replaced) == (("i3",), ())
    assert set(grown.scenes["id"].to_pylist()) == {"i0", "i1", "i2", "i3"}
    hrefs = [row["red"]["href"] for row in grown.scenes["assets"].to_pylist()]
    assert all(href.startswith(str(tmp_path)) for href in hrefs)
    back = grown.relocate({f"{tmp_path}/": server.url})
    assert back.append(overlap=timedelta(days=300)).append_report.rewritten == 0


def test_an_object_that_a_relocation_forgot_the_version_of_may_be_appended_again(cogs, tmp_path):  # noqa: F811
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    collection = rr.build([item("i0", "things", "red", str(cogs[0]), "2024-01-01T00:00:00Z")], tmp_path / "x.refs")
    for path in cogs:
        (mirror / path.name).write_bytes(path.read_bytes())
    moved = collection.relocate({f"{tmp_path}/": f"{mirror}/"})
    again = item("i1", "things", "red", str(mirror / cogs[0].name), "2024-01-02T00:00:00Z")
    grown = moved.append([again])
    with rasterio.open(cogs[0]) as file:
        assert all((row.to_numpy() == file.read(1)).all() for row in grown.to_xarray()["red"])
    grown.verify(pixels=4, sources=True)
