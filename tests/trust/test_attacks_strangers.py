"""Sets of strangers that are merged, appended to, or put in the place of others."""

import shutil
from pathlib import Path
from typing import Any

import pytest

import rasteret_refs as rr
from rasteret_refs.errors import (
    DamagedError,
    UnauthorisedSourceError,
)
from tests.servers.range_server import Server
from tests.trust.forge import IMAGE, forged

STRANGE: dict[str, Any] = {"storage": {"s3://x/": {"region": "us-west-2"}}}
"""Makes a copy of a set a stranger's: its seal is another."""


def test_a_search_that_a_stranger_recorded_is_not_run(local_refs: Path, tmp_path: Path, canary: Server) -> None:
    """`append()` asked whatever source a set named, with its SQL filters and its storage hints."""
    out = forged(local_refs, tmp_path / "x.refs", **STRANGE)
    seal = (out / "refs.json").read_bytes()
    with pytest.raises(UnauthorisedSourceError, match="give it as source"):
        rr.open(out).append()
    assert (out / "refs.json").read_bytes() == seal
    assert canary.stats().requests == 0


def test_a_stranger_s_set_is_merged_under_guard_and_does_not_become_one_s_own(
    local_refs: Path, tmp_path: Path, served: Server, canary: Server
) -> None:
    """`merge` read headers through a client that follows redirections anywhere, and trusted the result."""
    rr.build([f"{served.url}raw0.tif", f"{served.url}raw1.tif"], tmp_path / "theirs.refs")
    theirs = forged(tmp_path / "theirs.refs", tmp_path / "x.refs", **STRANGE)
    mine = tmp_path / "mine.refs"
    shutil.copytree(local_refs, mine)
    with pytest.raises(UnauthorisedSourceError, match="allow="):
        rr.open(mine).merge(theirs)
    served.fail("redirect", location=f"{canary.url}s0.tif")
    with pytest.raises(UnauthorisedSourceError, match="redirection"):
        rr.open(mine).merge(rr.open(theirs, allow=served.url), reread=True)
    assert canary.stats().requests == 0
    assert len(rr.open(mine)) == len(rr.open(local_refs))
    served.mend()
    assert len(rr.open(mine).merge(rr.open(theirs, allow=served.url))) == len(rr.open(local_refs)) + 2
    assert not rr.open(mine).audit().written_here
    with pytest.raises(UnauthorisedSourceError, match="allow="):
        rr.open(mine).reader.read(IMAGE)


def test_an_older_sound_state_is_refused_under_a_pin(local_refs: Path, tmp_path: Path, scenes: Path) -> None:
    out = tmp_path / "x.refs"
    shutil.copytree(local_refs, out)
    shutil.copytree(local_refs, tmp_path / "older.refs")
    rr.open(out).append([str(scenes / "raw0.tif")])
    pin = rr.open(out).refset.sha256
    shutil.rmtree(out)
    (tmp_path / "older.refs").rename(out)
    rr.open(out).verify()
    with pytest.raises(DamagedError, match="pinned"):
        rr.open(out, sha256=pin)
