"""Plain inputs: paths, globs, lists and URLs."""

import random

import pytest

from rasteret_refs.errors import NotFoundError, SourceError
from rasteret_refs.sources.files import glob_pattern, unique_ids
from rasteret_refs.sources.resolve import resolve


@pytest.fixture
def tiffs(tmp_path):
    for name in ("a/one.tif", "a/two.TIF", "b/one.tif", "b/deep/three.tiff", "b/notes.md"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"II*\0")
    return tmp_path


def test_a_path_becomes_one_scene_named_after_its_stem(tiffs):
    [scene] = resolve(tiffs / "a" / "one.tif")
    assert scene.id == "one"
    assert [(asset.name, asset.href) for asset in scene.assets] == [("image", str(tiffs / "a" / "one.tif"))]
    assert scene.datetime is None


def test_a_glob_with_two_stars_crosses_folders_in_sorted_order(tiffs):
    stream = resolve(f"{tiffs}/**/*.tif*")
    assert [scene.assets[0].href for scene in stream] == [
        str(tiffs / "a/one.tif"),
        str(tiffs / "b/deep/three.tiff"),
        str(tiffs / "b/one.tif"),
    ]
    assert stream.axis == "scene"
    assert stream.total == 3


def test_equal_stems_are_told_apart_by_as_many_folders_as_needed():
    urls = ["s3://x/2020/a/img.tif", "s3://x/2021/a/img.tif", "/data/other.tif", "s3://x/2020/b/img.tif"]
    assert unique_ids(urls) == ["2020/a/img", "2021/a/img", "other", "2020/b/img"]


def test_names_that_only_differ_in_their_ending_or_query_become_whole_urls():
    urls = ["/d/a.tif", "/d/a.tiff", "https://h/b.tif?versionId=1", "https://h/b.tif?versionId=2"]
    assert unique_ids(urls) == urls


def test_ids_do_not_depend_on_the_order_of_the_files():
    urls = [f"https://h/{year}/{name}.tif" for year in (1, 2, 3) for name in "abc"] + ["https://h/solo.tif"]
    expected = dict(zip(urls, unique_ids(urls), strict=True))
    shuffled = urls[:]
    random.Random(0).shuffle(shuffled)  # noqa: S311 - a reproducible order
    assert dict(zip(shuffled, unique_ids(shuffled), strict=True)) == expected
    assert len(set(expected.values())) == len(urls)


def test_a_file_named_twice_counts_once(tiffs):
    one = str(tiffs / "a" / "one.tif")
    assert len(list(resolve([one, f"{tiffs}/a/*.tif", "file://" + one]))) == 1


def test_a_list_may_hold_comments_blank_lines_globs_and_relative_paths(tiffs):
    listing = tiffs / "b" / "files.txt"
    listing.write_text("# all of it\n\none.tif\n../a/*.tif  # the other folder\nhttps://h/x#y.tif\ndeep/three.tiff\n")
    scenes = list(resolve(listing))
    assert [scene.assets[0].href for scene in scenes] == [
        str(tiffs / "b/one.tif"),
        str(tiffs / "a/one.tif"),
        "https://h/x",
        str(tiffs / "b/deep/three.tiff"),
    ]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"nowhere\.tif"):
        list(resolve(tmp_path / "nowhere.tif"))
    with pytest.raises(NotFoundError, match=r"no file matches"):
        resolve(f"{tmp_path}/*.tif")
    with pytest.raises(NotFoundError, match=r"list\.txt"):
        resolve(tmp_path / "list.txt")


def test_a_missing_file_among_others_is_recorded_when_failures_are_skipped(tiffs):
    stream = resolve([tiffs / "a/one.tif", tiffs / "gone.tif"], on_error="skip")
    assert [scene.id for scene in stream] == ["one"]
    [failure] = stream.failures
    assert isinstance(failure.error, NotFoundError)
    assert failure.url == str(tiffs / "gone.tif")
    assert failure.phase == "resolve"


def test_iterating_twice_gives_the_same_and_records_failures_once(tiffs):
    stream = resolve([tiffs / "a/one.tif", tiffs / "gone.tif"], on_error="skip")
    assert list(stream) == list(stream)
    assert len(stream.failures) == 1


def test_a_directory_says_what_to_give_instead(tiffs):
    with pytest.raises(SourceError, match=r"\*\*/\*\.tif"):
        resolve(tiffs)


def test_a_file_with_signs_of_a_glob_in_its_name_is_taken_literally(tmp_path):
    path = tmp_path / "scene[1].tif"
    path.write_bytes(b"II*\0")
    assert [scene.assets[0].href for scene in resolve(path)] == [str(path)]


@pytest.mark.parametrize(
    "url", ["https://h.example/a.tif", "s3://bucket/a.tif", "gs://bucket/a.tif", "az://container/a.tif"]
)
def test_urls_are_kept_as_they_are(url):
    assert [scene.assets[0].href for scene in resolve(url)] == [url]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/vsicurl/https://h.example/a.tif", "https://h.example/a.tif"),
        ("/vsis3/bucket/a.tif", "s3://bucket/a.tif"),
        ("/vsigs/bucket/a.tif", "gs://bucket/a.tif"),
        ("gcs://bucket/a.tif", "gs://bucket/a.tif"),
    ],
)
def test_gdal_names_become_urls(given, expected):
    assert [scene.assets[0].href for scene in resolve(given)] == [expected]


def test_one_name_in_assets_names_the_images_of_plain_files():
    [scene] = resolve("https://h.example/a.tif", assets=["elevation"])
    assert scene.assets[0].name == "elevation"
    with pytest.raises(SourceError, match="one asset each"):
        resolve("https://h.example/a.tif", assets=["red", "nir"])


def test_plain_files_cannot_be_searched():
    with pytest.raises(SourceError, match="no footprints"):
        resolve("https://h.example/a.tif", bbox=(0, 0, 1, 1))


def test_limit_and_progress_count_scenes(tiffs):
    seen = []
    stream = resolve(f"{tiffs}/**/*.tif*", limit=2, progress=lambda count, total: seen.append((count, total)))
    assert len(list(stream)) == 2
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("glob", "key", "matches"),
    [
        ("*.tif", "a.tif", True),
        ("*.tif", "d/a.tif", False),
        ("**/*.tif", "d/e/a.tif", True),
        ("**/*.tif", "a.tif", True),
        ("d?/[ab].tif", "d1/b.tif", True),
        ("d?/[!ab].tif", "d1/b.tif", False),
        ("a+b.tif", "aab.tif", False),
    ],
)
def test_globs_over_keys_keep_one_star_within_a_folder(glob, key, matches):
    assert bool(glob_pattern(glob).match(key)) is matches
