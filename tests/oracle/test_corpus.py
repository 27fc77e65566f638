"""Real TIFFs through the main job: `rasteret-refs build`, opened by the plain route, against `expected.csv`."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import rasterio
import rioxarray  # noqa: F401 - registers `.rio`
import tifffile
import xarray as xr
from odc.geo.xr import ODCExtension  # noqa: F401 - registers `.odc`
from rasterio.errors import NotGeoreferencedWarning

import rasteret_refs as rr
from tests.oracle.compare import check_images, only
from tests.oracle.expected import CorpusFile, ExpectedImage, corpus_files, pixel_hash
from tests.oracle.plain_set import Place, PlainSet

ROOT = Path(__file__).resolve().parents[2]
DECIDED = {
    "tiger-separated-strip-planar-08.tif_converted_deflate_2.tif": "tifffile",  # rasterio turns CMYK into RGBA
    "hpredict-1c-12b.tiff": "rasterio",  # TIFF 6.0 section 14: a predictor goes with a compression; GDAL ignores it too
    "sparse_nodata_one.tif": "rasterio",  # a tile that is not there is nodata
    "huge-implied-number-strips.tif": "rasterio",  # libtiff's reading of a short last strip
}
"""Which decoder is right where they differ."""


@pytest.fixture(autouse=True)
def nowhere() -> Iterator[None]:
    """Many files of the corpus lie nowhere, and rasterio says so each time; files beside them (`.ovr`) do not count."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        warnings.filterwarnings("ignore", message="Use `@` matmul", category=PendingDeprecationWarning)  # odc-geo
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the corpus."""

    equal: list[ExpectedImage] = field(default_factory=list)
    wrong: list[ExpectedImage] = field(default_factory=list)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    """Built, and then not decoded: (path, error)."""
    refused: dict[str, str] = field(default_factory=dict)
    """Message by path."""


@pytest.fixture(scope="module")
def built(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> PlainSet:
    """One set of the whole corpus, made by the command line."""
    directory = tmp_path_factory.mktemp("corpus")
    names = directory / "corpus.txt"
    names.write_text("\n".join(str(corpus / file.path) for file in corpus_files(corpus)))
    out = directory / "corpus.refs"
    command = [sys.executable, "-m", "rasteret_refs.cli", "build", str(names), "-o", str(out), "--on-error", "skip"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    return PlainSet(out)


@pytest.fixture(scope="module")
def outcome(corpus: Path, built: PlainSet, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    result = Outcome()
    places = built.places()
    for row in pq.read_table(built.path / "failures.parquet").to_pylist():
        result.refused[row["url"]] = f"{row['error']}: {row['message']}"
    for file in corpus_files(corpus):
        href = str(corpus / file.path)
        for image in file.images:
            name = name_of_page(corpus / file.path, image.ifd_index)
            if name == "image":
                if (href, name) in places:
                    _judge(built, image, places[href, name], result)
            elif href not in result.refused:  # further pages stand beside the first, where the scene table does not say
                out = tmp_path_factory.mktemp("pages") / "pages.refs"
                rr.build([href], out)
                alone = PlainSet(out)
                group, array = only(alone.named(name), "factor_1")
                _judge(alone, image, Place(group=group, array=array, index=0), result)
    return result


def name_of_page(path: Path, page: int) -> str:
    """`image`, `image_1`, …: the full-resolution pages of a file in their order."""
    if page == 0:
        return "image"
    with tifffile.TiffFile(path) as file:
        before = sum(number == 0 or not int(file.pages[number].subfiletype) & 5 for number in range(page))
    return f"image_{before}"


def _judge(built: PlainSet, image: ExpectedImage, place: Place, result: Outcome) -> None:
    try:
        found = pixel_hash(built.image(place.group, place.array, place.index))
    except Exception as error:  # noqa: BLE001 - any error is honest, wrong pixels are not
        result.unreadable.append((image.path, f"{type(error).__name__}: {error}"))
        return
    decided = DECIDED.get(Path(image.path).name)
    truths = image.truths if decided is None else {image.by_reader[decided]}
    (result.equal if found in truths else result.wrong).append(image)


def of_kind(corpus: Path, kind: str) -> list[CorpusFile]:
    return [file for file in corpus_files(corpus) if file.kind == kind]


def test_no_pixel_is_silently_wrong(outcome: Outcome) -> None:
    assert [(image.path, image.ifd_index) for image in outcome.wrong] == []


def test_nearly_all_good_files_are_read_exactly_and_the_others_refused_by_name(corpus: Path, outcome: Outcome) -> None:
    wanted = {(image.path, image.ifd_index) for file in of_kind(corpus, "good") for image in file.images}
    equal = {(image.path, image.ifd_index) for image in outcome.equal}
    missing = sorted(path for path, _ in wanted - equal)
    reasons = {path: outcome.refused.get(str(corpus / path)) for path in missing}
    print(json.dumps({"good": len(wanted), "equal": len(wanted & equal), "refused": reasons}, indent=1))
    assert len(wanted & equal) >= 0.98 * len(wanted)
    assert None not in reasons.values()


def test_odd_files_are_read_exactly_or_refused_by_name(corpus: Path, outcome: Outcome) -> None:
    equal = {image.path for image in outcome.equal}
    rest = [file.path for file in of_kind(corpus, "odd") if file.images and file.path not in equal]
    reasons = {path: outcome.refused.get(str(corpus / path)) for path in rest}
    print(json.dumps(reasons, indent=1))
    assert None not in reasons.values()
    assert not outcome.unreadable or {path for path, _ in outcome.unreadable} <= {
        file.path for file in of_kind(corpus, "corrupt")
    }


def test_every_refusal_names_its_file_and_its_reason(outcome: Outcome) -> None:
    for url, message in outcome.refused.items():
        assert url in message
        assert len(message) > len(url) + 30


GOOD_OR_ODD = pytest.mark.parametrize("part", range(6))


def _georeferenced(file: CorpusFile) -> bool:
    return file.row["georef"] in {"scale+tiepoint", "transform", "tiepoint_only"} and _in_rasterio(file)


def _in_rasterio(file: CorpusFile) -> bool:
    return file.row["decodes_in_rasterio"] == "True"


@GOOD_OR_ODD
def test_overviews_masks_and_dtypes_are_those_of_rasterio(
    corpus: Path, outcome: Outcome, part: int, tmp_path: Path
) -> None:
    equal = {image.path for image in outcome.equal}
    files = [file for file in corpus_files(corpus) if file.path in equal][part::6]
    problems = {}
    for number, file in enumerate(files):
        out = tmp_path / f"{number}.refs"
        rr.build([str(corpus / file.path)], out)
        if Path(file.path).name in DECIDED or not _in_rasterio(file):
            continue
        try:
            check_images(PlainSet(out), corpus / file.path)
            check_dtype(out, corpus / file.path)
        except AssertionError as error:
            problems[file.path] = str(error)[:200]
    assert problems == {}


def check_dtype(out: Path, path: Path) -> None:
    """What `xr.open_zarr` gives by default has the dtype of the TIFF."""
    opened = PlainSet(out)
    group = next(key.rpartition("/")[0] for key in opened.named("image") if key.split("/")[-2] == "factor_1")
    dataset = xr.open_zarr(rr.plain_store(out), group=group, zarr_format=2, consolidated=False, chunks=None)
    with rasterio.open(path) as file:
        wanted = {"complex_int16": "complex64", "complex_int32": "complex128"}.get(file.dtypes[0], file.dtypes[0])
    assert str(dataset["image"].dtype) == wanted


def test_crs_and_transform_are_found_by_rioxarray_and_by_odc_geo(
    corpus: Path, outcome: Outcome, tmp_path: Path
) -> None:
    equal = {image.path for image in outcome.equal}
    files = [file for file in corpus_files(corpus) if file.path in equal and _georeferenced(file)]
    problems = {}
    for number, file in enumerate(files):
        out = tmp_path / f"{number}.refs"
        rr.build([str(corpus / file.path)], out)
        try:
            check_georeference(out, corpus / file.path)
        except (AssertionError, ValueError, AttributeError, TypeError) as error:
            problems[file.path] = f"{type(error).__name__}: {error}"[:300]
    print(json.dumps({"georeferenced": len(files), "different": problems}, indent=1))
    assert len(problems) <= 0.02 * len(files)


def check_georeference(out: Path, path: Path) -> None:
    """CRS as a CRS, transform to 1e-9 of a pixel's size or of its place."""
    opened = PlainSet(out)
    group = next(key.rpartition("/")[0] for key in opened.named("image") if key.split("/")[-2] == "factor_1")
    dataset = xr.open_zarr(rr.plain_store(out), group=group, zarr_format=2, consolidated=False, chunks=None)
    image = dataset["image"].isel({dataset["image"].dims[0]: 0})
    with rasterio.open(path) as file:
        crs, transform = file.crs, file.transform
    geobox = image.odc.geobox
    for found in (image.rio.transform(), geobox.transform):
        assert tuple(found)[:6] == pytest.approx(tuple(transform)[:6], rel=1e-9, abs=1e-12), (
            "transform",
            found,
            transform,
        )
    if crs is None:
        assert image.rio.crs is None
        return
    assert image.rio.crs == crs, ("rioxarray", image.rio.crs, crs)
    assert rasterio.crs.CRS.from_user_input(geobox.crs.to_wkt()) == crs, ("odc-geo", geobox.crs, crs)


def test_corrupt_files_end_in_typed_errors_or_correct_references(corpus: Path, tmp_path: Path) -> None:
    names = [str(corpus / file.path) for file in of_kind(corpus, "corrupt")]
    command = [sys.executable, "-m", "tests.oracle.corrupt_worker", str(tmp_path), *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(names)
    truths = {str(corpus / file.path): file.images for file in of_kind(corpus, "corrupt")}
    foreign = [row for row in rows if row["outcome"] == "foreign"]
    slow = [row for row in rows if row["seconds"] > 1 or row["grown_mib"] > 256]
    wrong = [
        row["path"]
        for row in rows
        if row["outcome"] == "read"
        and tuple(row["hash"]) not in {truth for image in truths[row["path"]] for truth in image.truths}
    ]
    print(json.dumps(rows, indent=1))
    assert (foreign, slow, wrong) == ([], [], [])
