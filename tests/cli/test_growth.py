"""The command line of growth and sharing: append, merge, drop, relocate, push, cite, export, dry runs, resume."""

import json

import pytest
import rasterio

import rasteret_refs as rr
from tests.build.test_append import cogs, state  # noqa: F401 - a fixture
from tests.build.test_growing import things, write_items
from tests.cli.test_commands import invoke


@pytest.fixture
def items(cogs, tmp_path, server):  # noqa: F811 - the fixture
    return write_items(tmp_path / "items.json", things(server, range(3)))


@pytest.fixture
def base(items, tmp_path):
    assert invoke("build", items, "-o", tmp_path / "x.refs").exit_code == 0
    return tmp_path / "x.refs"


def test_append_runs_the_recorded_search_again_and_reports(base, items, server):
    write_items(items, things(server, [0, 1, 2, 5]))
    result = invoke("append", base)
    assert result.exit_code == 0, result.output
    assert "1 new scene of 4, 3 known before" in result.stdout
    again = json.loads(invoke("append", base, "--json").stdout)
    assert (again["appended"], again["known"], again["rewritten"]) == (0, 1, 0) or again["appended"] == 0


def test_append_takes_other_sources_and_tells_failures_by_its_exit_code(base, tmp_path, server):
    more = write_items(tmp_path / "more.json", things(server, [3, 4]))
    gone = things(server, [7])
    gone[0]["assets"]["red"]["href"] = f"{server.url}gone.tif"
    bad = write_items(tmp_path / "bad.json", [*things(server, [8]), *gone])
    assert json.loads(invoke("append", base, more, "--json").stdout)["appended"] == 2
    before = state(base)
    refused = invoke("append", base, bad)
    assert refused.exit_code == 1
    assert "gone.tif" in refused.stderr
    assert state(base) == before
    skipped = invoke("append", base, bad, "--on-error", "skip")
    assert skipped.exit_code == 3
    assert "gone.tif" in skipped.stderr
    assert len(rr.open(base)) == 6


def test_a_limited_search_says_what_to_do(items, tmp_path):
    invoke("build", items, "-o", tmp_path / "x.refs", "--limit", "2")
    result = invoke("append", tmp_path / "x.refs")
    assert result.exit_code == 1
    assert "limit" in result.stderr
    assert invoke("append", tmp_path / "x.refs", "--no-limit").exit_code == 0
    assert len(rr.open(tmp_path / "x.refs")) == 3


def test_merge_drop_and_relocate(base, cogs, tmp_path, server):  # noqa: F811
    other = write_items(tmp_path / "other.json", things(server, [10, 11]))
    invoke("build", other, "-o", tmp_path / "y.refs")
    assert json.loads(invoke("merge", base, tmp_path / "y.refs", "--json").stdout)["appended"] == 2
    (tmp_path / "ids.txt").write_text("i10\n")
    dropped = json.loads(invoke("drop", base, "i0", "--ids-from", tmp_path / "ids.txt", "--json").stdout)
    assert dropped == {"dropped": ["i0", "i10"], "scenes": 3}
    assert invoke("drop", base).exit_code == 2
    assert invoke("drop", base, "nonsense").exit_code == 1
    moved = json.loads(invoke("relocate", base, f"{server.url}={tmp_path}/", "--json").stdout)
    assert moved["sources"] == [f"{tmp_path}/"]
    with rasterio.open(cogs[1]) as file:
        assert (rr.open(base).to_xarray(id="i1")["red"].to_numpy() == file.read(1)).all()
    assert invoke("relocate", base, "nonsense").exit_code == 2
    assert invoke("relocate", base, "https://a/=https://b/").exit_code == 1


def test_push_cite_and_export(base, tmp_path):
    pushed = json.loads(invoke("push", base, tmp_path / "shared", "--version", "v1", "--json").stdout)
    assert rr.open(pushed["url"], sha256=pushed["sha256"]).scenes.num_rows == 3
    again = invoke("push", base, tmp_path / "shared", "--version", "v1")
    assert again.exit_code == 1
    assert "v1" in again.stderr
    assert "unknown" in invoke("cite", base).stdout
    assert json.loads(invoke("cite", base, "--json").stdout)["sha256"] == pushed["sha256"]
    assert invoke("export", base, tmp_path / "x.json").exit_code == 0
    assert invoke("export", base, tmp_path / "x.json").exit_code == 1


def test_a_dry_run_searches_and_reads_no_image(items, tmp_path, server):
    server.reset()
    found = json.loads(invoke("build", items, "-o", tmp_path / "x.refs", "--dry-run", "--json").stdout)
    assert (found["scenes"], found["assets"], found["requests"]) == (3, 3, 3)
    assert server.stats().requests == 0
    assert not (tmp_path / "x.refs").exists()
    text = invoke("build", items, "-o", tmp_path / "x.refs", "--dry-run")
    assert "about 3" in text.stdout
    assert "paid by the provider" in text.stdout


def test_resume_takes_the_headers_of_a_stopped_build(items, tmp_path, server):
    broken = things(server, [5])
    broken[0]["assets"]["red"]["href"] = f"{server.url}gone.tif"
    bad = write_items(tmp_path / "bad.json", [*things(server, range(3)), *broken])
    assert invoke("build", bad, "-o", tmp_path / "x.refs").exit_code == 1
    report = json.loads(invoke("build", items, "-o", tmp_path / "x.refs", "--resume", "--json").stdout)
    assert (report["resumed"], report["requests"], report["scenes"]) == (3, 0, 3)


def test_source_options_reach_the_source(items, tmp_path, server):
    out = tmp_path / "y.refs"
    shape = tmp_path / "shape.geojson"
    shape.write_text(json.dumps({"type": "Feature", "geometry": {"type": "Point", "coordinates": [75.95, 13.55]}}))
    arguments = ("--datetime", "2024-01-02/..", "--assets", "rot=red", "--intersects", shape, "--ids", "i1")
    result = invoke("build", items, "-o", out, *arguments)
    assert result.exit_code == 0, result.output
    assert rr.open(out).scenes["id"].to_pylist() == ["i1"]
    assert [array.name for array in rr.open(out).groups[0].arrays] == ["rot"]
    table = tmp_path / "table.csv"
    table.write_text("name,url,when\ns,https://old.example/0.tif,2024-01-01T00:00:00Z\n")
    options = ("--columns", "href=url", "--columns", "id=name", "--columns", "datetime=when")
    rewritten = invoke(
        "build", table, "-o", tmp_path / "z.refs", *options, "--url-rewrite", f"https://old.example/={server.url}"
    )
    assert rewritten.exit_code == 0, rewritten.output
    assert invoke("build", table, "-o", tmp_path / "w.refs", "--columns", "href").exit_code == 2
    missing = invoke("build", table, "-o", tmp_path / "w.refs", "--columns", "href=nonsense")
    assert missing.exit_code == 1
    assert "nonsense" in missing.stderr
