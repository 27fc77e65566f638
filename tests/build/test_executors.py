"""Headers read by other threads, processes and clusters: the set is the same, and nothing is left behind."""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import rasteret_refs as rr
from rasteret_refs.build.journal import journal_path
from rasteret_refs.build.run import build
from rasteret_refs.cli import main
from rasteret_refs.errors import BuildError, NotATiffError
from tests.build.test_append import scene, state
from tests.build.test_scan import write_cog

COUNT = 150


@pytest.fixture
def urls(tmp_path, server_process):
    """Files of two kinds, enough for several tasks, and one that is no TIFF."""
    first = write_cog(tmp_path / "cog.tif", size=300, block=128, overviews=(2,))
    second = write_cog(tmp_path / "other.tif", size=300, block=256, overviews=(2,), compress="lzw")
    for number in range(COUNT):
        (tmp_path / f"{number}.tif").hardlink_to(second if number % 7 == 3 else first)
    (tmp_path / "page.tif").write_text("<html>sign in</html>")
    return [f"{server_process.url}{name}.tif" for name in (*range(COUNT), "page")]


@pytest.fixture
def threads():
    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        yield pool


@pytest.fixture
def dask_client():
    distributed = pytest.importorskip("distributed")
    with distributed.Client(processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None) as client:
        yield client


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_appending_and_merging_give_the_same_set_with_every_executor(urls, tmp_path, executor):
    for name in ("alone", "x"):
        rr.build(urls[:100], tmp_path / f"{name}.refs")
    rr.build(urls[130:COUNT], tmp_path / "other.refs")
    alone = rr.open(tmp_path / "alone.refs").append(urls[100:130])
    alone.merge(tmp_path / "other.refs", reread=True)
    CliRunner().invoke(
        main, ["append", str(tmp_path / "x.refs"), *urls[100:130], "--executor", executor], catch_exceptions=False
    )
    done = CliRunner().invoke(
        main, ["merge", str(tmp_path / "x.refs"), str(tmp_path / "other.refs"), "--reread", "--executor", executor]
    )
    assert done.exit_code == 0, done.output
    assert state(tmp_path / "x.refs") == state(tmp_path / "alone.refs")
    assert rr.open(tmp_path / "x.refs").scenes.num_rows == COUNT


@pytest.mark.parametrize("executor", ["threads", "processes", "pool", "dask"])
def test_the_set_is_the_same_byte_for_byte_with_every_executor(request, urls, tmp_path, server_process, executor):
    fixture = {"pool": "threads", "dask": "dask_client"}.get(executor)
    given = request.getfixturevalue(fixture) if fixture else executor
    expected = rr.build(urls, tmp_path / "alone.refs", on_error="skip").report
    server_process.reset()
    report = rr.build(urls, tmp_path / "x.refs", on_error="skip", executor=given).report
    assert state(tmp_path / "x.refs") == state(tmp_path / "alone.refs")
    assert (report.scenes, len(report.failures)) == (expected.scenes, 1) == (COUNT, 1)
    assert report.requests == server_process.stats().requests == COUNT + 1
    assert report.bytes == server_process.stats().bytes_sent
    (row,) = pq.read_table(tmp_path / "x.refs" / "failures.parquet").to_pylist()
    assert (row["error"], row["url"]) == ("NotATiffError", urls[-1])


def test_headers_are_read_in_other_processes(urls, tmp_path):
    pids = set()

    class Watched(concurrent.futures.ProcessPoolExecutor):
        def submit(self, function, /, *arguments):
            pids.add(super().submit(os.getpid).result())
            return super().submit(function, *arguments)

    import multiprocessing

    with Watched(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        rr.build(urls[:10], tmp_path / "x.refs", executor=pool)
    assert pids
    assert os.getpid() not in pids


def test_files_of_this_machine_are_found_by_workers_too(tmp_path, monkeypatch, threads):
    write_cog(tmp_path / "a.tif")
    monkeypatch.chdir(tmp_path)
    rr.build("a.tif", tmp_path / "alone.refs")
    rr.build("a.tif", tmp_path / "x.refs", executor=threads)
    assert state(tmp_path / "x.refs") == state(tmp_path / "alone.refs")


def test_the_first_bad_file_ends_the_build_and_is_named(urls, tmp_path, threads):
    with pytest.raises(NotATiffError, match=r"page\.tif"):
        rr.build(urls, tmp_path / "out" / "x.refs", executor=threads)
    assert not (tmp_path / "out" / "x.refs").exists()


def test_headers_that_workers_fetched_are_not_fetched_again(urls, tmp_path, server_process, threads):
    out = tmp_path / "out" / "x.refs"
    with pytest.raises(NotATiffError):
        build([scene(f"s{n:03}", url, n) for n, url in enumerate(urls)], out, executor=threads)
    assert journal_path(out).exists()
    server_process.reset()
    report = build([scene(f"s{n:03}", url, n) for n, url in enumerate(urls[:-1])], out, resume=True, executor=threads)
    assert report.resumed > 0
    assert report.requests == server_process.stats().requests == COUNT - report.resumed


class _Broken(concurrent.futures.Executor):
    def submit(self, function, /, *arguments):
        raise concurrent.futures.BrokenExecutor("the pool is gone")


def test_a_broken_executor_is_no_failure_of_the_files(urls, tmp_path):
    with pytest.raises(BuildError, match="the pool is gone"):
        rr.build(urls, tmp_path / "x.refs", on_error="skip", executor=_Broken())
    assert not (tmp_path / "x.refs").exists()


@pytest.mark.parametrize("executor", ["fibers", 3, object()])
def test_what_is_no_executor_is_refused_before_anything_is_asked(urls, tmp_path, server_process, executor):
    with pytest.raises(BuildError, match="threads, processes, dask"):
        rr.build(urls, tmp_path / "x.refs", executor=executor)
    assert server_process.stats().requests == 0
    assert not (tmp_path / "x.refs").exists()


def test_the_command_takes_executors_and_refuses_other_names(urls, tmp_path):
    built = CliRunner().invoke(
        main, ["build", *urls[:5], "-o", str(tmp_path / "x.refs"), "--executor", "threads", "--json"]
    )
    assert built.exit_code == 0, built.output
    assert json.loads(built.stdout)["scenes"] == 5
    refused = CliRunner().invoke(main, ["build", urls[0], "-o", str(tmp_path / "y.refs"), "--executor", "fibers"])
    assert refused.exit_code == 2
    assert "dask:ADDRESS" in refused.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_worker_outlives_a_build_that_was_ended(urls, tmp_path, server_process, number):
    server_process.delay(30.0)
    out = tmp_path / "out" / "x.refs"
    out.parent.mkdir()
    command = [sys.executable, "-m", "rasteret_refs.cli", "build", urls[0], "-o", str(out), "--executor", "processes"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while server_process.stats().connections == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=20)  # workers hold the other end of its standard error as long as they live
    assert process.returncode in {143, -signal.SIGKILL}


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_ctrl_c_ends_workers_that_wait_for_a_slow_server(urls, tmp_path, server_process, executor):
    server_process.delay(30.0)
    out = tmp_path / "out" / "x.refs"
    out.parent.mkdir()
    command = [sys.executable, "-m", "rasteret_refs.cli", "build", urls[0], "-o", str(out), "--executor", executor]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while server_process.stats().connections == 0 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert list(out.parent.iterdir()) == []
