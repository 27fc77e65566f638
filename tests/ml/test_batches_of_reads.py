"""A batch is one read: requests, forks and tokens."""

import json
import multiprocessing
import os
import sys
import threading

import numpy as np
import pytest

import rasteret_refs as rr
from rasteret_refs.ml.entry import chip_source
from tests.ml.scenes import AssetSpec, SceneSpec, read, write_scenes
from tests.ml.signed import BLOBS, serve_signed
from tests.servers.range_server import serve

SCENES = [SceneSpec(id=f"s{n}", x=600_000.0 + 5120 * n, size=512) for n in range(3)]
ASSETS = [AssetSpec(name="red"), AssetSpec(name="nir")]


@pytest.fixture
def served(tmp_path):
    with serve(tmp_path, process=True) as server:
        items = write_scenes(tmp_path / "data", SCENES, ASSETS, base=f"{server.url}data/")
        found = rr.build(items, tmp_path / "x.refs")
        server.reset()
        yield server, found


def test_a_batch_fetches_each_tile_once_and_no_header(served):
    server, found = served
    source = chip_source(found, 64, ["red", "nir"])
    one_tile = [n for n, chip in enumerate(source.chips.to_pylist()) if chip["row"] < 128 and chip["col"] < 128]
    assert len(one_tile) == 12
    source.read(one_tile)
    requests = server.requests()
    assert len(requests) == 6  # three scenes of two assets
    spans = [(request.path, request.start, request.stop) for request in requests]
    assert len(set(spans)) == len(spans)
    assert all(request.status == 206 and request.start > 0 for request in requests)


def _send_chips(source, sending):
    sending.send_bytes(source.read([5, 70, 150])["image"].tobytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.timeout(60)
def test_a_forked_child_reads_after_its_parent_has_read_and_while_it_reads(served):
    _, found = served
    source = chip_source(found, 64, ["red", "nir"])
    expected = source.read([5, 70, 150])["image"]
    stop = threading.Event()

    def keep_reading():
        while not stop.is_set():
            source.read(range(0, len(source), 7))

    busy = threading.Thread(target=keep_reading)
    busy.start()
    try:
        context = multiprocessing.get_context("fork")
        for _ in range(6):
            receiving, sending = context.Pipe(duplex=False)
            child = context.Process(target=_send_chips, args=(source, sending))
            child.start()
            assert receiving.poll(30), "the child hangs"
            assert receiving.recv_bytes() == expected.tobytes()
            child.join(10)
    finally:
        stop.set()
        busy.join()


def test_core_works_without_torch(tmp_path):
    import subprocess

    code = (
        "import sys; sys.modules['torch'] = None; import rasteret_refs as rr\n"
        "from tests.ml.scenes import *; from pathlib import Path; from rasteret_refs.ml.entry import chip_source\n"
        f"c = collection(Path({str(tmp_path)!r}), [SceneSpec(id='a')], [AssetSpec(name='red')])\n"
        "print(chip_source(c, 64).read([0])['image'].shape)\n"
        "try: c.to_torch(64)\n"
        "except ModuleNotFoundError as e: print(e)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100)
    assert "(1, 1, 64, 64)" in done.stdout
    assert "to_torch needs the package torch: pip install 'rasteret-refs[ml]'" in done.stdout


def test_reads_of_two_collections_share_a_round(tmp_path):
    from rasteret_refs.ml.reads import run, through, together

    sources = []
    for name in ("one", "two"):
        items = write_scenes(tmp_path / name, SCENES[:1], ASSETS[:1], seed=len(sources))
        sources.append(chip_source(rr.build(items, tmp_path / f"{name}.refs"), 64))
    both = run(together([through(source.reader, source.reads([0, 9])) for source in sources]))
    for source, batch in zip(sources, both, strict=True):
        assert np.array_equal(batch["image"], source.read([0, 9])["image"])
    assert not np.array_equal(both[0]["image"], both[1]["image"])
    assert json.dumps([len(batch["scene"]) for batch in both]) == "[2, 2]"


def test_tokens_that_expire_in_the_middle_of_an_epoch_fail_no_sample(tmp_path):
    with serve_signed(tmp_path / "data", every=25) as cloud:
        items = write_scenes(tmp_path / "data", SCENES, ASSETS, base=BLOBS)
        found = rr.build(items, tmp_path / "x.refs", storage=cloud.storage)
        source = chip_source(found, 64, ["red", "nir"])
        whole = {name: read(tmp_path / "data", *name) for name in [(s.id, a.name) for s in SCENES for a in ASSETS]}
        before = cloud.refused
        order = np.random.default_rng(0).permutation(len(source))
        chips = source.chips.to_pylist()
        for first in range(0, len(order), 16):
            places = order[first : first + 16]
            for place, image in zip(places, source.read(places)["image"], strict=True):
                chip = chips[place]
                window = (slice(chip["row"], chip["row"] + 64), slice(chip["col"], chip["col"] + 64))
                assert np.array_equal(image[0], whole[chip["scene"], "red"][0][window])
                assert np.array_equal(image[1], whole[chip["scene"], "nir"][0][window])
        assert cloud.refused - before > 3
        assert cloud.tokens > 3
