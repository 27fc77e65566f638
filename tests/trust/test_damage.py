"""Damaged sets: each file deleted, cut, zeroed, flipped or exchanged is noticed when it is first needed, always."""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import rasteret_refs as rr
from rasteret_refs.errors import DamagedError, FormatVersionError, NotFoundError, RasteretRefsError
from tests.servers.range_server import serve
from tests.trust.conftest import write_scene

FLIPS = 12


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two sets of the same shape over other scenes: with failures, labels by scene, and two assets."""
    directory = tmp_path_factory.mktemp("twins")
    (directory / "bad.tif").write_bytes(b"not a TIFF")
    sets = []
    for which in range(2):
        paths = [directory / f"{which}-{number}.tif" for number in range(2)]
        for number, path in enumerate(paths):
            write_scene(path, 10 * which + number)
        out = directory / f"{which}.refs"
        rr.build([*map(str, paths), str(directory / "bad.tif")], out, on_error="skip")
        sets.append(out)
    return sets[0], sets[1]


def files_of(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def use_all(location: str | Path) -> None:
    """Do everything that reads: open, tables, every array."""
    refs = rr.open(location)
    assert len(refs.scenes) == 2
    assert len(refs.refset.failures()) == 1
    refs.refset.tiles()
    for key, document in refs.refset.metadata.items():
        if key.endswith("/.zarray"):
            assert refs.reader.read(key.removesuffix("/.zarray")).shape == tuple(document["shape"])


def use_plainly(location: Path) -> None:
    """Read every array by Zarr over `plain_store`."""
    group = zarr.open_group(rr.plain_store(location), mode="r", zarr_format=2, use_consolidated=False)
    for path in [key.removesuffix("/.zarray") for key in rr.open(location).refset.metadata if key.endswith("/.zarray")]:
        np.asarray(group[path][...])


def damages(root: Path, other: Path, name: str, source: random.Random) -> Iterator[str]:
    """Damage one file in each way; it is whole again after each."""
    path = root / name
    data = path.read_bytes()
    path.unlink()
    yield "deleted"
    for size in (0, 1, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        yield f"cut to {size}"
    path.write_bytes(bytes(len(data)))
    yield "zeroed"
    for at in [0, len(data) - 1, *(source.randrange(len(data)) for _ in range(FLIPS))]:
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << source.randrange(8)]) + data[at + 1 :])
        yield f"flipped at {at}"
    path.write_bytes(data + b"\0")
    yield "longer"
    replacement = (other / name).read_bytes()
    if replacement != data and name != "refs.json":
        path.write_bytes(replacement)
        yield "exchanged"
    path.write_bytes(data)


def test_every_damage_to_every_file_is_detected(twins: tuple[Path, Path], tmp_path: Path) -> None:
    source = random.Random(0)  # noqa: S311 - to be repeated
    root = tmp_path / "set.refs"
    shutil.copytree(twins[0], root)
    use_all(root)
    use_plainly(root)
    done, silent = 0, []
    for name in files_of(root):
        for damage in damages(root, twins[1], name, source):
            done += 1
            try:
                use_all(root)
                silent.append(f"{name} {damage}")
            except (DamagedError, FormatVersionError, NotFoundError):
                pass
            with pytest.raises((DamagedError, NotFoundError)):
                rr.open(root).verify()
            if name.endswith("parq"):
                with pytest.raises(Exception, match="expected"):
                    use_plainly(root)
    use_all(root)
    print(f"\n{done} damages to {len(files_of(root))} files, {len(silent)} not detected")
    assert not silent
    assert done > 150


def test_a_swapped_set_is_detected_by_its_pin(twins: tuple[Path, Path]) -> None:
    pin = rr.open(twins[0]).refset.sha256
    assert rr.open(twins[0], sha256=pin).refset.sha256 == pin
    with pytest.raises(DamagedError, match="pinned"):
        rr.open(twins[1], sha256=pin)


def test_remote_damage_is_detected_and_opening_does_not_read_the_whole_set(
    twins: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(twins[0], tmp_path / "set.refs")
    with serve(tmp_path) as server:
        rr.open(f"{server.url}set.refs")
        assert server.stats().requests == 2
        record = "set.refs/zarr.parq/factor_1/image/refs.0.parq"
        server.put(record, (tmp_path / record).read_bytes()[:-1])
        with pytest.raises(DamagedError, match=r"refs\.0\.parq"):
            use_all(f"{server.url}set.refs")


def test_a_file_too_many_is_found_by_verify(twins: tuple[Path, Path], tmp_path: Path) -> None:
    root = tmp_path / "set.refs"
    shutil.copytree(twins[0], root)
    (root / "zarr.parq" / "factor_1" / "image" / "refs.7.parq").write_bytes(b"")
    with pytest.raises(DamagedError, match="extra"):
        rr.open(root).verify()


def test_damaged_json_under_a_sound_seal_is_an_error_of_ours(twins: tuple[Path, Path], tmp_path: Path) -> None:
    from tests.trust.forge import forged

    source = random.Random(1)  # noqa: S311 - to be repeated

    def twist(documents: dict[str, Any]) -> None:
        for _ in range(source.randint(1, 3)):
            key = source.choice(sorted(documents))
            document = documents[key]
            if isinstance(document, dict) and document:
                field = source.choice(sorted(document))
                document[field] = source.choice([None, -1, 0, 2**63, "x", [], {}, [0], ["x"], 1.5, True, "\0", "<u2"])
            else:
                documents[key] = source.choice([None, 1, [], "x"])

    foreign = []
    for number in range(200):
        root = forged(twins[0], tmp_path / f"{number}.refs", documents=twist)
        try:
            refs = rr.open(root, allow="/")
            repr(refs.groups)
            refs.audit()
            for key in refs.refset.metadata:
                if key.endswith("/.zarray"):
                    refs.reader.read(key.removesuffix("/.zarray"))
        except RasteretRefsError:
            pass
        except Exception as error:  # noqa: BLE001 - what must not come is what is looked for
            import traceback

            foreign.append("".join(traceback.format_exception(error)[-3:]))
        shutil.rmtree(root)
    assert not foreign, f"{len(foreign)} foreign errors:\n" + "\n".join(sorted(set(foreign))[:8])
