"""The command line: what it prints, its exit codes, and its messages for every kind of bad input."""

import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import rasterio
import zarr
from click.testing import CliRunner

import rasteret_refs as rr
from rasteret_refs.cli import main
from rasteret_refs.cli.output import as_options
from rasteret_refs.errors import ExistsError
from tests.build.test_scan import write_cog


def invoke(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def cogs(tmp_path):
    directory = tmp_path / "cogs"
    directory.mkdir()
    return [write_cog(directory / f"{name}.tif") for name in ("a", "b", "c")]


def pixels(out, index):
    store = rr.plain_store(out)
    group = zarr.open_group(store, mode="r", zarr_format=2, use_consolidated=False)
    return np.asarray(group["factor_1/image"][index])


def test_build_references_files_so_that_plain_zarr_reads_rasterios_pixels(cogs, tmp_path):
    result = invoke("build", *cogs, "-o", tmp_path / "x.refs")
    assert result.exit_code == 0, result.output
    assert "3 scenes, 3 assets" in result.stdout
    for index, path in enumerate(cogs):
        with rasterio.open(path) as file:
            assert np.array_equal(pixels(tmp_path / "x.refs", index), file.read(1))


def test_build_takes_globs_lists_and_urls(cogs, tmp_path, server):
    (tmp_path / "list.txt").write_text("# three\n" + "\n".join(map(str, cogs)) + "\n")
    sources = [f"{cogs[0].parent}/*.tif", tmp_path / "list.txt", f"{server.url}cogs/a.tif"]
    counts = []
    for number, source in enumerate(sources):
        result = invoke("build", source, "-o", tmp_path / f"{number}.refs", "--json")
        assert result.exit_code == 0, result.output
        counts.append(json.loads(result.stdout)["scenes"])
    assert counts == [3, 3, 1]


def test_build_refuses_an_existing_output_and_replaces_it_when_told_to(cogs, tmp_path):
    out = tmp_path / "x.refs"
    assert invoke("build", cogs[0], "-o", out).exit_code == 0
    before = (out / "refs.json").read_bytes()
    refused = invoke("build", *cogs, "-o", out)
    assert refused.exit_code == 1
    assert "x.refs" in refused.stderr
    assert "--overwrite" in refused.stderr
    with pytest.raises(ExistsError, match="overwrite=True"):
        rr.build(cogs[0], out)
    assert (out / "refs.json").read_bytes() == before
    assert invoke("build", *cogs, "-o", out, "--overwrite").exit_code == 0
    assert len(rr.open(out)) == 3


BAD = {
    "empty.tif": (b"", "empty"),
    "page.tif": (b"<!DOCTYPE html><html>sign in</html>", "HTML"),
    "text.tif": (b"hello, this is no TIFF at all", "signature"),
    "cut.tif": (None, "the file has"),
}


@pytest.fixture
def bad(cogs):
    directory = cogs[0].parent
    for name, (content, _) in BAD.items():
        (directory / name).write_bytes(cogs[0].read_bytes()[:5000] if content is None else content)
    return directory


@pytest.mark.parametrize("name", [*BAD, "missing.tif"])
def test_one_bad_file_fails_the_build_and_is_named(bad, cogs, tmp_path, name):
    result = invoke("build", cogs[0], bad / name, "-o", tmp_path / "x.refs")
    assert result.exit_code == 1
    assert name in result.stderr
    assert "Traceback" not in result.stderr
    assert BAD.get(name, (None, "missing.tif"))[1] in result.stderr
    assert sorted(p.name for p in tmp_path.iterdir() if "refs" in p.name and not p.name.endswith(".lock")) == []


def test_skipped_files_become_failures_and_the_exit_code_is_3(bad, cogs, tmp_path, server):
    urls = [f"{server.url}cogs/{name}" for name in ("a.tif", *BAD, "missing.tif")]
    result = invoke("build", *urls, "-o", tmp_path / "x.refs", "--on-error", "skip")
    assert result.exit_code == 3, result.output
    rows = pq.read_table(tmp_path / "x.refs" / "failures.parquet").to_pylist()
    assert {(row["url"].rpartition("/")[2], row["error"]) for row in rows} == {
        ("empty.tif", "NotATiffError"),
        ("page.tif", "NotATiffError"),
        ("text.tif", "NotATiffError"),
        ("cut.tif", "TruncatedError"),
        ("missing.tif", "NotFoundError"),
    }
    assert len(rr.open(tmp_path / "x.refs")) == 1


@pytest.fixture
def hurried(monkeypatch):
    monkeypatch.setattr("rasteret_refs.objects.client._BACKOFF", 0.001)


@pytest.mark.usefixtures("cogs", "hurried")
@pytest.mark.parametrize(("status", "error"), [(403, "AccessError"), (404, "NotFoundError"), (500, "UnavailableError")])
def test_refusing_servers_are_told_apart(tmp_path, server, status, error):
    server.fail("status", path="cogs/b.tif", status=status)
    urls = [f"{server.url}cogs/{name}.tif" for name in "abc"]
    result = invoke("build", *urls, "-o", tmp_path / "x.refs", "--on-error", "skip")
    assert result.exit_code == 3
    (row,) = pq.read_table(tmp_path / "x.refs" / "failures.parquet").to_pylist()
    assert (row["error"], row["asset"], row["phase"]) == (error, "image", "header")
    assert row["attempts"] == (7 if status == 500 else 1)


def test_nothing_usable_is_an_error_even_when_skipping(bad, tmp_path):
    result = invoke("build", bad / "text.tif", "-o", tmp_path / "x.refs", "--on-error", "skip")
    assert result.exit_code == 1
    assert "text.tif" in result.stderr
    assert not (tmp_path / "x.refs").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["build"],
        ["build", "a.tif"],
        ["build", "a.tif", "-o", "x.refs", "--layout", "round"],
        ["build", "a.tif", "-o", "x.refs", "--bbox", "1,2,3"],
        ["build", "a.tif", "-o", "x.refs", "--storage", "none.toml"],
        ["nonsense"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments):
    assert invoke(*arguments).exit_code == 2


def test_a_storage_file_that_is_no_toml_is_named(cogs, tmp_path):
    (tmp_path / "s.toml").write_text("not = = toml")
    result = invoke("build", cogs[0], "-o", tmp_path / "x.refs", "--storage", tmp_path / "s.toml")
    assert result.exit_code == 1
    assert "s.toml" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["build", "", "-o", "{out}"], "expected a source of scenes"),
        (["build", "s3://", "-o", "{out}"], "expected a bucket"),
        (["build", "{cog}", "-o", "s3://bucket/x.refs"], "expected a local directory .* push"),
        (["build", "{cog}", "-o", "https://host.example/x.refs"], "expected a local directory .* push"),
        (["push", "{refs}", "s3://", "--version", "v1"], "expected a bucket"),
        (["inspect", "{out}.tif"], r"x\.refs\.tif: .* no such file"),
    ],
)
def test_places_that_are_none_are_refused_before_anything_is_written(cogs, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    invoke("build", cogs[0], "-o", tmp_path / "good.refs")
    names = {"out": tmp_path / "x.refs", "cog": cogs[0], "refs": tmp_path / "good.refs"}
    before = sorted(tmp_path.iterdir())
    result = invoke(*(argument.format(**names) for argument in arguments))
    assert result.exit_code == 1
    assert re.search(message, result.stderr)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], r"s\.csv: expected a column of hrefs \(--columns href=NAME\); the table has id, x"),
        (["--columns", "href=url"], r"s\.csv: columns: the table lacks href='url'; it has id, x"),
        (["--columns", "href.red=url"], r"s\.csv: columns: the table lacks href\.red='url'; it has id, x"),
    ],
)
def test_a_table_without_the_mapped_column_is_named_with_its_columns(tmp_path, options, message):
    (tmp_path / "s.csv").write_text("id,x\n1,2\n")
    result = invoke("build", tmp_path / "s.csv", "-o", tmp_path / "x.refs", *options)
    assert result.exit_code == 1
    assert re.search(message, result.stderr), result.stderr


def test_a_misspelt_storage_option_is_refused_and_the_known_ones_are_named(cogs, tmp_path):
    (tmp_path / "s.toml").write_text('["s3://bucket/"]\nrequst_payer = true\n')
    result = invoke("build", cogs[0], "-o", tmp_path / "x.refs", "--storage", tmp_path / "s.toml")
    assert result.exit_code == 1
    assert all(text in result.stderr for text in ("s.toml", "s3://bucket/", "requst_payer", "request_payer"))


def test_a_coordinate_that_no_scene_has_is_refused_and_the_known_ones_are_named(cogs, tmp_path):
    table = pa.table({"href": [str(path) for path in cogs], "id": ["a", "b", "c"], "split": ["train", "test", "test"]})
    pq.write_table(table, tmp_path / "s.parquet")
    arguments = ["build", tmp_path / "s.parquet", "-o", tmp_path / "x.refs", "--coordinate"]
    result = invoke(*arguments, "splitt")
    assert result.exit_code == 1
    assert "splitt" in result.stderr
    assert "'split'" in result.stderr
    assert not (tmp_path / "x.refs").exists()
    assert invoke(*arguments, "split").exit_code == 0


def test_info_describes_the_set_for_people_and_for_programs(cogs, tmp_path):
    out = tmp_path / "x.refs"
    invoke("build", *cogs, "-o", out)
    text = invoke("info", out)
    assert text.exit_code == 0
    assert "EPSG:32643" in text.stdout
    facts = json.loads(invoke("info", out, "--json").stdout)
    assert facts["scenes"] == 3
    (group,) = facts["groups"]
    (array,) = group["arrays"]
    assert (array["name"], array["shape"], array["dtype"]) == ("image", [3, 600, 600], "u2")
    assert array["codecs"] == ["zlib", "horizontal_predictor"]


def test_inspect_shows_each_ifd_with_one_request(cogs, server):
    facts = json.loads(invoke("inspect", f"{server.url}cogs/a.tif", "--json").stdout)
    assert facts["requests"] == 1
    assert facts["georeference"]["epsg"] == 32643
    with rasterio.open(cogs[0]) as file:
        assert facts["georeference"]["transform"] == pytest.approx(list(file.transform)[:6])
        levels = file.overviews(1)
    assert [ifd["role"] for ifd in facts["ifds"]] == ["image"] + ["overview"] * len(levels)
    first = facts["ifds"][0]
    assert (first["width"], first["height"], first["bits"], first["predictor"]) == (600, 600, 16, 2)
    assert first["compression_name"] == "Deflate"
    table = invoke("inspect", cogs[0])
    assert table.exit_code == 0
    assert "600×600" in table.stdout


def test_inspect_names_what_is_no_tiff(bad):
    result = invoke("inspect", bad / "page.tif")
    assert result.exit_code == 1
    assert "page.tif" in result.stderr


def test_verify_is_silent_about_a_sound_set_and_fails_on_a_damaged_one(cogs, tmp_path):
    out = tmp_path / "x.refs"
    invoke("build", *cogs, "-o", out)
    assert json.loads(invoke("verify", out, "--json").stdout)["files"] > 3
    manifest = next((out / "zarr.parq").rglob("image/refs.0.parq"))
    content = bytearray(manifest.read_bytes())
    content[len(content) // 2] ^= 1
    manifest.write_bytes(content)
    result = invoke("verify", out)
    assert result.exit_code == 1
    assert "refs.0.parq" in result.stderr


EVERY = {
    "info": [], "verify": [], "audit": [], "cite": [], "annotate": ["labels.csv"], "split": [], "append": ["x.tif"],
    "merge": ["other.refs"], "drop": ["a"], "relocate": ["/a/=/b/"], "push": ["x", "--version", "1"],
    "export": ["x.json"],
}  # fmt: skip


@pytest.mark.parametrize("command", EVERY)
@pytest.mark.parametrize("place", ["none.refs", "cogs"])
def test_what_is_no_reference_set_is_named_by_every_command(cogs, tmp_path, monkeypatch, command, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "labels.csv").write_text("id,label\na,1\n")
    result = invoke(command, place, *EVERY[command])
    assert result.exit_code == 1
    assert f"{place}: expected a reference set" in result.stderr


def test_a_copy_that_was_cut_short_is_no_set(cogs, tmp_path):
    out = tmp_path / "x.refs"
    invoke("build", *cogs, "-o", out)
    seal = (out / "refs.json").read_bytes()
    for content, said in ((b"", "refs.json"), (seal[:100], "refs.json"), (None, "expected a reference set")):
        (out / "refs.json").unlink()
        if content is not None:
            (out / "refs.json").write_bytes(content)
        result = invoke("info", out)
        assert result.exit_code == 1
        assert said in result.stderr
        (out / "refs.json").write_bytes(seal)
    (out / "zarr.parq" / ".zmetadata").unlink()
    result = invoke("info", out)
    assert result.exit_code == 1
    assert ".zmetadata" in result.stderr


@pytest.mark.parametrize(
    ("message", "spelt"),
    [
        ("it exists (overwrite=True replaces it)", "it exists (--overwrite replaces it)"),
        ("give columns={'href': NAME}; or not", "give --columns href=NAME; or not"),
        ("collections= and ids= search STAC", "--collections and ids= search STAC"),
        ("https://h/?overwrite=1 and allow=['s3://a/'] stay", "https://h/?overwrite=1 and allow=['s3://a/'] stay"),
    ],
)
def test_arguments_in_messages_become_the_options_that_a_command_has(message, spelt):
    options = {"overwrite": "--overwrite", "columns": "--columns", "collections": "--collections"}
    assert as_options(message, options) == spelt


def test_the_export_and_the_demo_name_what_they_cannot_write(cogs, tmp_path):
    out = tmp_path / "x.refs"
    invoke("build", *cogs, "-o", out)
    assert invoke("export", out, tmp_path / "x.json").exit_code == 0
    again = invoke("export", out, tmp_path / "x.json")
    assert again.exit_code == 1
    assert "--overwrite" in again.stderr
    demo = invoke("demo", "--out", "/proc/none")
    assert demo.exit_code == 1
    assert "/proc/none" in demo.stderr


def test_the_demo_compares_every_pixel():
    result = subprocess.run(
        [sys.executable, "-m", "rasteret_refs.cli", "demo"], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no session that nobody closed
    assert "all pixels equal" in result.stdout
    assert "DIFFERENT" not in result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_what_batch_systems_send_leave_nothing_behind(cogs, tmp_path, server, number):
    server.delay(30.0)
    out = tmp_path / "out" / "x.refs"
    out.parent.mkdir()
    command = [sys.executable, "-m", "rasteret_refs.cli", "build", f"{server.url}cogs/a.tif", "-o", str(out)]
    before = signal.signal(number, signal.SIG_DFL)  # under `nohup` SIGHUP is ignored, and children inherit that
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    signal.signal(number, before)
    while not any("staging" in path.name for path in out.parent.iterdir()):
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert "interrupted" in errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert [path for path in out.parent.iterdir() if path.suffix != ".lock"] == []
