"""Publishing is all or nothing, whoever interferes."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rasteret_refs.errors import ExistsError, RefsetError
from rasteret_refs.refset import publish
from rasteret_refs.refset.publish import staged
from rasteret_refs.refset.write import write_reference_set
from tests.refset.conftest import table_of
from tests.refset.plans import Planned


def put(planned: Planned, out: Path, **options: bool) -> None:
    with staged(out, **options) as directory:
        write_reference_set(planned.plan, directory, scenes=table_of(planned))


def interrupted(out: Path, error: BaseException, **options: bool) -> None:
    with staged(out, **options) as directory:
        (directory / "half").write_text("written")
        raise error


def hidden(out: Path) -> list[str]:
    return [path.name for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")]


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "published" / "set.refs"


def test_a_set_appears_with_ordinary_permissions_and_nothing_beside_it(planned: Planned, out: Path) -> None:
    put(planned, out)
    assert (out / "refs.json").is_file()
    assert hidden(out) == []
    plain = out.parent / "plain"
    plain.mkdir()
    assert out.stat().st_mode == plain.stat().st_mode


def test_an_error_leaves_nothing(out: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        interrupted(out, ZeroDivisionError())
    assert not out.exists()
    assert hidden(out) == []


def test_ctrl_c_leaves_the_older_set(planned: Planned, out: Path) -> None:
    put(planned, out)
    before = contents(out)
    with pytest.raises(KeyboardInterrupt):
        interrupted(out, KeyboardInterrupt(), overwrite=True)
    assert contents(out) == before
    assert hidden(out) == []


def test_an_existing_output_is_refused_without_overwrite(planned: Planned, out: Path) -> None:
    put(planned, out)
    with pytest.raises(ExistsError, match="overwrite=True"), staged(out):
        pass


def test_overwriting_replaces_a_reference_set(planned: Planned, out: Path) -> None:
    put(planned, out)
    inode = out.stat().st_ino
    put(planned, out, overwrite=True)
    assert out.stat().st_ino != inode
    assert hidden(out) == []


def test_overwriting_without_exchange_replaces_too(
    planned: Planned, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(planned, out)
    inode = out.stat().st_ino
    monkeypatch.setattr(publish, "exchange", lambda first, second: False)
    put(planned, out, overwrite=True)
    assert out.stat().st_ino != inode
    assert hidden(out) == []


def test_a_folder_that_is_no_reference_set_is_never_replaced(out: Path) -> None:
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("years of work")
    with pytest.raises(ExistsError, match="is none"), staged(out, overwrite=True):
        pass
    assert (out / "thesis.txt").read_text() == "years of work"


def test_a_set_with_somebodys_own_files_in_it_is_not_replaced(planned: Planned, out: Path) -> None:
    put(planned, out)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ExistsError, match=r"notes\.txt"), staged(out, overwrite=True):
        pass
    assert (out / "notes.txt").exists()


def test_a_file_is_never_replaced(out: Path) -> None:
    out.parent.mkdir(parents=True)
    out.write_text("a file")
    with pytest.raises(ExistsError, match="a file"), staged(out, overwrite=True):
        pass
    assert out.read_text() == "a file"


def test_an_output_that_appears_meanwhile_is_kept(out: Path) -> None:
    def overtaken() -> None:
        with staged(out) as directory:
            (directory / "refs.json").write_text("{}")
            out.mkdir()
            (out / "other").write_text("somebody else's")

    with pytest.raises(ExistsError):
        overtaken()
    assert (out / "other").read_text() == "somebody else's"


def test_a_link_is_followed(planned: Planned, out: Path, tmp_path: Path) -> None:
    put(planned, out)
    link = tmp_path / "link.refs"
    link.symlink_to(out)
    put(planned, link, overwrite=True)
    assert link.is_symlink()
    assert (out / "refs.json").is_file()


def test_a_second_writer_is_refused_while_the_first_is_at_work(out: Path) -> None:
    with staged(out) as directory, pytest.raises(ExistsError, match="other writer"), staged(out):
        pass
    assert not directory.exists()
    assert out.exists()
    assert hidden(out) == []


def _race(out: Path, number: int, barrier: object, results: object) -> None:
    barrier.wait()
    try:
        with staged(out) as directory:
            for name in "abc":
                (directory / name).write_text(str(number))
        results.put(number)
    except ExistsError:
        results.put(-1)


def test_of_many_writers_one_wins_and_nothing_is_mixed(out: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    writers = [context.Process(target=_race, args=(out, number, barrier, results)) for number in range(3)]
    for writer in writers:
        writer.start()
    outcomes = [results.get(timeout=60) for _ in writers]
    for writer in writers:
        writer.join(60)
    winners = [number for number in outcomes if number >= 0]
    assert len(winners) == 1
    assert {(out / name).read_text() for name in "abc"} == {str(winners[0])}
    assert hidden(out) == []


def test_what_a_killed_writer_leaves_is_cleaned_by_the_next(planned: Planned, out: Path) -> None:
    out.parent.mkdir(parents=True)
    code = (
        "import sys, time; from rasteret_refs.refset.publish import staged\n"
        f"with staged({str(out)!r}) as d:\n"
        "    (d / 'half').write_text('x'); print('ready', flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"ready\n"
        writer.send_signal(signal.SIGKILL)
        writer.wait(30)
    assert not out.exists()
    assert len(hidden(out)) == 2
    put(planned, out)
    assert hidden(out) == []
    assert (out / "refs.json").is_file()


def test_a_set_that_a_killed_writer_had_moved_aside_is_restored(planned: Planned, out: Path) -> None:
    put(planned, out)
    before = contents(out)
    out.rename(out.parent / f".{out.name}.old-abcd")
    with pytest.raises(ExistsError), staged(out):
        pass
    assert contents(out) == before
    assert hidden(out) == []


def test_neighbours_with_a_similar_name_are_left_alone(out: Path) -> None:
    out.parent.mkdir(parents=True)
    other = out.parent / ".set2.refs.staging-xyz"
    other.mkdir()
    with staged(out) as directory:
        (directory / "refs.json").write_text("{}")
    assert other.is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_place_is_an_error_of_ours(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(RefsetError, match="place to write"), staged(tmp_path / "set.refs"):
        pass


def test_a_place_below_a_file_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RefsetError), staged(tmp_path / "file" / "set.refs"):
        pass


def test_a_reader_sees_the_old_or_the_new_set_at_every_moment(
    planned: Planned, out: Path, write: Callable[..., Path]
) -> None:
    put(planned, out)
    stop = time.monotonic() + 1.0
    with subprocess.Popen(
        [sys.executable, "-c", f"import os\nwhile True:\n  os.stat({str(out / 'refs.json')!r})"],
        stderr=subprocess.PIPE,
    ) as reader:
        while time.monotonic() < stop:
            put(planned, out, overwrite=True)
        assert reader.poll() is None, "the set was missing for an instant"
        reader.kill()
