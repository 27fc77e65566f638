"""Stopped builds: what the journal keeps, what is fetched again, and that nothing tells the result from another."""

import signal
import subprocess
import sys
import time

import pytest

import rasteret_refs as rr
from rasteret_refs.build.journal import Journal, journal_path
from rasteret_refs.build.run import build
from rasteret_refs.errors import NotFoundError, TruncatedError
from tests.build.test_append import scene, state
from tests.build.test_scan import write_cog


@pytest.fixture
def many(tmp_path):
    first = write_cog(tmp_path / "cog.tif", size=300, block=128, overviews=(2,))
    for number in range(300):
        (tmp_path / f"{number}.tif").hardlink_to(first)
    return 300


def scenes_at(server, count):
    return [scene(f"s{number:03}", f"{server.url}{number}.tif", number) for number in range(count)]


def test_a_build_that_failed_goes_on_without_fetching_again(many, tmp_path, server):
    out = tmp_path / "out" / "x.refs"
    scenes = scenes_at(server, many)
    broken = [*scenes[:250], scene("missing", f"{server.url}none.tif", 250)]
    with pytest.raises(NotFoundError):
        build(broken, out)
    assert [path.name for path in out.parent.iterdir()] == [".x.refs.journal"]
    fetched = server.stats().requests - 1
    server.reset()
    report = build(scenes, out, resume=True)
    assert report.resumed >= fetched * 0.98
    assert server.stats().requests == report.requests <= many - fetched + 0.02 * fetched
    assert [path.name for path in out.parent.iterdir()] == ["x.refs"]
    build(scenes, tmp_path / "uninterrupted.refs")
    assert state(out) == state(tmp_path / "uninterrupted.refs")


def test_a_killed_build_goes_on_and_the_set_is_that_of_an_uninterrupted_one(many, tmp_path, server_process):
    server_process.delay(0.02)
    out = tmp_path / "out" / "x.refs"
    urls = [f"{server_process.url}{number}.tif" for number in range(many)]
    (tmp_path / "list.txt").write_text("\n".join(urls))
    program = """if True:
        import sys
        import rasteret_refs as rr
        from rasteret_refs.objects.client import Objects
        Objects.__init__.__kwdefaults__["concurrency"] = 4  # few are under way when it is killed
        rr.build(sys.argv[1], sys.argv[2])
    """
    command = [sys.executable, "-c", program, str(tmp_path / "list.txt"), str(out)]
    process = subprocess.Popen(command)
    journal = journal_path(out)
    deadline = time.monotonic() + 60
    while (not journal.exists() or journal.stat().st_size < 100_000) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=20)
    assert not out.exists()
    seen = server_process.stats().requests
    assert 0 < seen < many
    report = rr.build(tmp_path / "list.txt", out, resume=True).report
    assert report.resumed >= seen - 16  # what was on its way: asked for, but not noted yet
    assert report.requests == many - report.resumed
    rr.build(tmp_path / "list.txt", tmp_path / "whole.refs")
    assert state(out) == state(tmp_path / "whole.refs")


def test_without_resume_the_journal_is_thrown_away(many, tmp_path, server):
    out = tmp_path / "out" / "x.refs"
    broken = [*scenes_at(server, 20), scene("missing", f"{server.url}none.tif", 250)]
    with pytest.raises(NotFoundError):
        build(broken, out)
    server.reset()
    assert build(scenes_at(server, 20), out).requests == 20
    assert not journal_path(out).exists()


def test_files_of_this_machine_leave_no_journal(tmp_path):
    path = write_cog(tmp_path / "a.tif", size=300, block=128, overviews=())
    with pytest.raises(NotFoundError):
        build([scene("a", path), scene("b", tmp_path / "none.tif")], tmp_path / "x.refs")
    assert not journal_path(tmp_path / "x.refs").exists()


def kept(path, url="https://h/a.tif"):
    journal = Journal(path, resume=True)
    try:
        return journal.find(url)
    finally:
        journal.close(remove=False)


def write_two(path):
    journal = Journal(path, resume=False)
    journal.keep("https://h/a.tif", size=9, etag='"e"', last_modified=None, windows=[(0, b"abc"), (7, b"z")])
    middle = path.stat().st_size
    journal.keep("https://h/b.tif", size=5, etag=None, last_modified="2024", windows=[(0, memoryview(b"12345"))])
    journal.close(remove=False)
    return middle


def test_a_journal_gives_back_what_it_was_given(tmp_path):
    path = tmp_path / "journal"
    write_two(path)
    found = kept(path)
    assert (found.size, found.etag, found.windows) == (9, '"e"', ((0, b"abc"), (7, b"z")))
    assert kept(path, "https://h/b.tif").last_modified == "2024"
    assert kept(path, "https://h/none.tif") is None


def test_a_journal_cut_anywhere_keeps_its_whole_records_and_goes_on(tmp_path):
    path = tmp_path / "journal"
    middle = write_two(path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert (kept(path) is not None) == (length >= middle)
        journal = Journal(path, resume=True)
        journal.keep("https://h/c.tif", size=1, etag=None, last_modified=None, windows=[(0, b"c")])
        journal.close(remove=False)
        assert kept(path, "https://h/c.tif").windows == ((0, b"c"),)


def test_a_record_with_a_flipped_bit_is_not_taken(tmp_path):
    path = tmp_path / "journal"
    middle = write_two(path)
    content = bytearray(path.read_bytes())
    content[middle - 1] ^= 1
    path.write_bytes(content)
    assert kept(path) is None


def test_a_file_of_another_kind_is_written_over(tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b"something else entirely, not ours")
    assert kept(path) is None


def test_kept_headers_are_parsed_within_the_same_limits(tmp_path, server):
    """A journal is a file that somebody may have written: it must not let in what a server could not."""
    content = write_cog(tmp_path / "a.tif", size=300, block=128, overviews=()).read_bytes()
    out = tmp_path / "x.refs"
    journal = Journal(journal_path(out), resume=False)
    url = f"{server.url}a.tif"
    journal.keep(url, size=600, etag=None, last_modified=None, windows=[(0, content[:500])])
    journal.close(remove=False)
    with pytest.raises(TruncatedError, match=r"a\.tif"):
        build([scene("a", url)], out, resume=True)
