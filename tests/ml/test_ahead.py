"""What is begun while a dataset is made: connections and manifests, before anybody asks for pixels."""

import os
import threading
import time
from types import SimpleNamespace

import pytest

from rasteret_refs.errors import DamagedError
from rasteret_refs.ml import ahead
from rasteret_refs.ml.images import images_of
from tests.ml.scenes import AssetSpec, SceneSpec, collection


@pytest.fixture
def made(tmp_path):
    scenes = [SceneSpec(id="a"), SceneSpec(id="b", day=1), SceneSpec(id="c", x=700_000.0, day=2)]
    found = collection(tmp_path, scenes, [AssetSpec(name="red"), AssetSpec(name="nir")])
    return found, list(images_of(found.reader, found.scenes, ["red", "nir"]).values())


def begun(reader, images, rows):
    ahead.begin(reader, images, rows)
    ahead._finish()


def far_away(found, manifests):
    """The collection's reader, as if its files lay behind a server."""
    asked, loaded = [], []
    objects = SimpleNamespace(is_local=lambda _: False, connect=asked.append)
    versions = SimpleNamespace(load=lambda: loaded.append(1))
    return SimpleNamespace(manifests=manifests, objects=objects, versions=versions), asked, loaded


def test_each_host_is_connected_once_and_versions_are_read(made):
    found, images = made
    reader, asked, loaded = far_away(found, found.reader.manifests)
    begun(reader, images, images[0].index.argsort())
    assert len(asked) == 1
    assert loaded == [1]
    assert len(found.reader.manifests._files) == len({array.path for one in images for array in one.arrays})


def test_nothing_is_connected_for_files_at_hand(made):
    found, images = made
    reader, asked, loaded = far_away(found, found.reader.manifests)
    reader.objects.is_local = found.reader.objects.is_local
    begun(reader, images, images[0].index.argsort())
    assert asked == loaded == []


def test_damage_met_ahead_is_told_by_the_read_that_needs_what_is_damaged(made):
    found, images = made
    os.truncate(f"{found.refset.location}/zarr.parq/{images[0].arrays[0].path}/refs.0.parq", 100)
    begun(found.reader, images, images[0].index.argsort())
    with pytest.raises(DamagedError):
        found.reader.read(images[0].arrays[0].path, (0, slice(4), slice(4)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_waits_for_what_was_begun():
    begun_at = threading.Event()

    def work():
        begun_at.set()
        time.sleep(0.2)
        done.append(1)

    done = []
    ahead._in_thread(work)
    begun_at.wait(5)
    child = os.fork()
    if child == 0:
        os._exit(0 if done else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
