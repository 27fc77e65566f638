"""Writing: the same bytes for the same input, small files, and no set that some reader would misread."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from rasteret_refs.errors import RefsetError
from rasteret_refs.refset.geoparquet import failure_table, scene_table
from rasteret_refs.refset.manifest import record_size_for
from rasteret_refs.refset.write import write_reference_set
from rasteret_refs.virtual.values import ChunkManifest, ReferenceSetPlan, VirtualGroup
from tests.refset.conftest import table_of
from tests.refset.plans import GROUP, HEIGHT, ROWS, Planned, plan_around, write_tiffs

ARRAY = f"zarr.parq/{GROUP}/image"


def contents(directory: Path) -> dict[str, bytes]:
    return {str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()}


def test_the_same_inputs_give_the_same_bytes(planned: Planned, write: Callable[..., Path]) -> None:
    assert contents(write(planned, "one")) == contents(write(planned, "two"))


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from rasteret_refs.refset.write import write_reference_set\n"
        "from tests.refset.conftest import table_of\n"
        "from tests.refset.plans import plan_of\n"
        "paths = sorted(Path(sys.argv[1]).glob('*.tif')); out = Path(sys.argv[2]); out.mkdir()\n"
        "planned = plan_of(paths, holes=[1])\n"
        "write_reference_set(planned.plan, out, scenes=table_of(planned), recipe={'b': 1, 'a': [2]})\n"
    )
    write_tiffs(tmp_path, 4)
    root = Path(__file__).parents[2]
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path), str(tmp_path / f"{seed}.refs")],
            check=True, timeout=120, cwd=root, env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
        )  # fmt: skip
    assert contents(tmp_path / "1.refs") == contents(tmp_path / "2.refs")


def test_record_files_are_as_long_as_they_must_be(refs: Path) -> None:
    lengths = [pq.read_metadata(refs / f"{ARRAY}/refs.{k}.parq").num_rows for k in range(5)]
    assert lengths == [8, 8, 8, 8, 3]
    assert not (refs / f"{ARRAY}/refs.5.parq").exists()


def test_record_files_have_only_encodings_that_fastparquet_reads(refs: Path) -> None:
    file = pq.ParquetFile(refs / f"{ARRAY}/refs.0.parq")
    assert file.schema_arrow.names == ["path", "offset", "size", "raw"]
    for index in range(4):
        column = file.metadata.row_group(0).column(index)
        assert set(column.encodings) <= {"PLAIN", "RLE", "RLE_DICTIONARY", "PLAIN_DICTIONARY"}
        assert column.compression == "ZSTD"
        if column.path_in_schema in {"offset", "size"}:
            assert column.statistics.has_min_max
            assert column.statistics.null_count == 0
            assert file.schema.column(index).max_definition_level == 0


def test_distinct_inlined_chunks_are_stored_once(planned: Planned, write: Callable[..., Path], tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes(2_000_000)
    count = 40
    manifest = ChunkManifest(
        urls=(), url_index=np.full(count, -1, np.int32), offsets=np.zeros(count, np.int64),
        sizes=np.zeros(count, np.int64), inlined=(noise,), inline=np.zeros(count, np.int32),
    )  # fmt: skip
    ids = [str(number) for number in range(8)]
    refs = write(replace(planned, plan=plan_around(manifest, ids)), "holes", record_size=None)
    assert (refs / f"{ARRAY}/refs.0.parq").stat().st_size < 2_100_000


def with_manifest(planned: Planned, **changes: Any) -> ReferenceSetPlan:
    return plan_around(replace(planned.plan.groups[2].arrays[0].manifest, **changes), planned.ids)


def with_group(planned: Planned, **changes: Any) -> ReferenceSetPlan:
    root, parent, group = planned.plan.groups
    return replace(planned.plan, groups=(root, parent, replace(group, **changes)))


def refused(plan: ReferenceSetPlan, planned: Planned, tmp_path: Path, message: str) -> None:
    out = tmp_path / "refused.refs"
    out.mkdir()
    with pytest.raises(RefsetError, match=message):
        write_reference_set(plan, out, scenes=table_of(planned))
    assert not (out / "refs.json").exists()


def test_references_that_plain_readers_misread_are_refused(planned: Planned, tmp_path: Path) -> None:
    manifest = planned.plan.groups[2].arrays[0].manifest
    zero = manifest.sizes.copy()
    zero[3] = 0
    refused(with_manifest(planned, sizes=zero), planned, tmp_path, r"sizes ≥ 1, got offset \d+ and size 0 for chunk 3")


@pytest.mark.parametrize(
    ("urls", "message"),
    [
        ("data/scene.tif", "absolute path"),
        ("https://user:secret@example.com/a.tif", "user information"),
        ("https://example.com/a.tif?sig=secret", "sig"),
        ("https://example.com/a.tif?X-Amz-Signature=secret&x=1", "X-Amz-Signature"),
        ("https://example.com/a.tif?versionId=3&access_token=secret", "access_token"),
        ("s3://key:secret@bucket/a.tif", "user information"),
        ("https://example.com/a.tif#token=secret", "token"),
    ],
)
def test_urls_that_do_not_last_or_hold_secrets_are_refused(
    planned: Planned, tmp_path: Path, urls: str, message: str
) -> None:
    refused(with_manifest(planned, urls=(urls,) * 7), planned, tmp_path, message)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.tif?versionId=3",
        "abfss://container@account.dfs.core.windows.net/a.tif",
        "/data/odd?sig=name@x.tif",
        "gs://bucket/a.tif",
    ],
)
def test_urls_without_secrets_are_kept(planned: Planned, tmp_path: Path, url: str) -> None:
    out = tmp_path / "kept.refs"
    out.mkdir()
    write_reference_set(with_manifest(planned, urls=(url,) * 7), out, scenes=table_of(planned))


def test_inlined_bytes_that_fsspec_would_decode_are_refused(planned: Planned, tmp_path: Path) -> None:
    refused(with_manifest(planned, inlined=(b"base64:AAAA",)), planned, tmp_path, "base64")


def test_a_chunk_that_is_neither_referenced_nor_inlined_is_refused(planned: Planned, tmp_path: Path) -> None:
    refused(with_manifest(planned, inline=None), planned, tmp_path, "neither")


def test_an_array_at_the_root_is_refused(planned: Planned, tmp_path: Path) -> None:
    group = planned.plan.groups[2]
    plan = replace(planned.plan, groups=(replace(group, path=""),))
    refused(plan, planned, tmp_path, "root group: expected no arrays")


def test_a_group_without_its_parent_is_refused(planned: Planned, tmp_path: Path) -> None:
    root, _, group = planned.plan.groups
    refused(replace(planned.plan, groups=(root, group)), planned, tmp_path, "expected its parent")


@pytest.mark.parametrize("name", [".zdata", "", "a/b", "a?b", "a#b", "100%", "a\\b", " a", "new\nline"])
def test_names_that_mislead_readers_are_refused(planned: Planned, tmp_path: Path, name: str) -> None:
    image = planned.plan.groups[2].arrays[0]
    refused(with_group(planned, arrays=(replace(image, name=name),)), planned, tmp_path, "name")


def test_names_that_differ_by_case_only_are_refused(planned: Planned, tmp_path: Path) -> None:
    image = planned.plan.groups[2].arrays[0]
    refused(with_group(planned, arrays=(image, replace(image, name="Image"))), planned, tmp_path, "more than case")


def test_two_sizes_of_one_dimension_are_refused(planned: Planned, tmp_path: Path) -> None:
    image = planned.plan.groups[2].arrays[0]
    manifest = image.manifest
    half = ChunkManifest(
        urls=manifest.urls, url_index=manifest.url_index[10:], offsets=manifest.offsets[10:], sizes=manifest.sizes[10:]
    )
    other = replace(image, name="other", shape=(5, HEIGHT, 30), manifest=half)
    refused(with_group(planned, arrays=(image, other)), planned, tmp_path, "expected 7 for dimension scene")


def test_a_manifest_that_is_too_short_is_refused(planned: Planned, tmp_path: Path) -> None:
    image = planned.plan.groups[2].arrays[0]
    taller = replace(image, shape=(7, HEIGHT + ROWS, 30))
    refused(with_group(planned, arrays=(taller,), coordinates=()), planned, tmp_path, "expected 42 references, got 35")


@pytest.mark.parametrize("attributes", [{"_FillValue": 0}, {"scale_factor": 2.0}, {"nodata": float("nan")}])
def test_attributes_that_change_dtypes_or_are_no_json_are_refused(
    planned: Planned, tmp_path: Path, attributes: dict[str, Any]
) -> None:
    image = planned.plan.groups[2].arrays[0]
    message = "expected no attribute|expected values that JSON holds"
    refused(with_group(planned, arrays=(replace(image, attributes=attributes),)), planned, tmp_path, message)


@pytest.mark.parametrize(
    "options",
    [
        {"recipe": {"source": "https://example.com/search?token=secret"}},
        {"recipe": {"storage": {"secret_access_key": "secret"}}},
        {"storage": {"s3://bucket/": {"aws_secret_access_key": "secret"}}},
        {"storage": {"https://x/?sig=secret": {}}},
    ],
)
def test_secrets_in_recipe_and_hints_are_refused(planned: Planned, tmp_path: Path, options: dict[str, Any]) -> None:
    out = tmp_path / "secret.refs"
    out.mkdir()
    with pytest.raises(RefsetError) as caught:
        write_reference_set(planned.plan, out, scenes=table_of(planned), **options)
    assert "secret@" not in str(caught.value)
    assert "=secret" not in str(caught.value)


def test_hints_without_secrets_are_kept(planned: Planned, tmp_path: Path) -> None:
    out = tmp_path / "hints.refs"
    out.mkdir()
    hints = {
        "s3://bucket/": {"request_payer": True, "region": "us-west-2", "skip_signature": "true"},
        "https://pc/": "x",
    }
    assert write_reference_set(planned.plan, out, scenes=table_of(planned), storage=hints).storage == hints


def test_a_directory_with_files_is_not_written_into(planned: Planned, tmp_path: Path) -> None:
    with pytest.raises(RefsetError, match="empty directory"):
        write_reference_set(planned.plan, tmp_path, scenes=table_of(planned))


def test_failures_are_kept_in_a_table(planned: Planned, tmp_path: Path) -> None:
    out = tmp_path / "failed.refs"
    out.mkdir()
    row = {"url": "https://x/y.tif", "scene": "s", "asset": "a", "phase": "scan", "error": "NotATiffError",
           "message": "expected a TIFF, got HTML", "attempts": 1}  # fmt: skip
    write_reference_set(planned.plan, out, scenes=table_of(planned), failures=failure_table([row]))
    assert pq.read_table(out / "failures.parquet").to_pylist() == [row]


def test_the_record_size_grows_with_the_set_so_that_files_stay_few() -> None:
    assert record_size_for([12_100] * 13) == 10_000
    large = record_size_for([10_000 * 225])
    assert large == 25_000
    assert 10_000 * 225 / large <= 125
    assert record_size_for([1_210_000] * 13) == 10_000
    assert record_size_for([100_000_000]) == 100_000


def test_a_stack_has_few_files_and_little_in_those_that_the_next_append_rewrites() -> None:
    assert record_size_for([4_000] * 30, stacked=True) == 10_000
    images = [3_379_200, 1_650_000, 844_800, 429_000, 211_200, 115_500, 52_800, 39_600]
    counts = [*images, *[10] * 150]
    size = record_size_for(counts, stacked=True)
    assert 10_000 <= size <= 200_000
    assert sum(-(-count // size) for count in counts) <= 194
    # A size at random would leave half a file of each array, or all of a small one, to be written anew.
    rewritten = sum(count % size for count in images)
    assert rewritten < sum(min(count, size / 2) for count in images)
    assert record_size_for([10**9, 10], stacked=True) == 200_000


def sentinel_2(scenes: int) -> ReferenceSetPlan:
    """13 assets of Sentinel-2's shapes: 4 × 121, 7 × 36 and 2 × 4 tiles a scene, with sizes and offsets as in COGs."""
    random = np.random.default_rng(0)
    root = "https://sentinel-cogs.s3.us-west-2.amazonaws.com/sentinel-s2-l2a-cogs/43/P/GQ/2024"
    groups = [VirtualGroup(path="", attributes={})]
    ids = [f"S2A_43PGQ_2024{n // 28 % 12 + 1:02}{n % 28 + 1:02}_{n}_L2A" for n in range(scenes)]
    for resolution, (pixels, assets) in {10: (10980, 4), 20: (5490, 7), 60: (1830, 2)}.items():
        tiles = (-(-pixels // 1024)) ** 2
        arrays = []
        for asset in range(assets):
            sizes = random.normal(1.3e6, 2e5, (scenes, tiles)).astype(np.int64)
            starts = random.integers(300_000, 400_000, (scenes, 1))
            offsets = starts + np.cumsum(sizes + 8, axis=1) - sizes - 8
            manifest = ChunkManifest(
                urls=[f"{root}/{n % 12 + 1}/{scene}/B{asset:02}.tif" for n, scene in enumerate(ids)],
                url_index=np.repeat(np.arange(scenes, dtype=np.int32), tiles),
                offsets=offsets.ravel(), sizes=sizes.ravel(),
            )  # fmt: skip
            template = plan_around(manifest, ids).groups[2].arrays[0]
            shape, chunks = (scenes, pixels, pixels), (1, 1024, 1024)
            arrays.append(replace(template, name=f"B{asset:02}", shape=shape, chunks=chunks))
        groups.append(VirtualGroup(path=f"r{resolution}", attributes={}, arrays=tuple(arrays)))
    return ReferenceSetPlan(groups=tuple(groups), placements=(), layout="grids")


def test_a_hundred_scenes_of_744_tiles_take_6700_bytes_each(tmp_path: Path) -> None:
    out = tmp_path / "sentinel.refs"
    out.mkdir()
    write_reference_set(sentinel_2(100), out, scenes=scene_table([{"id": str(n)} for n in range(100)]))
    files = [path for path in out.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) / 100 <= 6700
    assert len(files) <= 30


def test_a_disk_that_is_full_is_an_error_of_ours_that_names_the_file(
    planned: Planned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    def full(self: Path, mode: str = "r") -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    out = tmp_path / "full.refs"
    out.mkdir()
    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(RefsetError, match=r"refs\.0\.parq: expected \d+ bytes to be written, got: .*No space"):
        write_reference_set(planned.plan, out, scenes=table_of(planned))
