"""URLs and paths to stores and keys."""

import pytest

from rasteret_refs.errors import SourceError
from rasteret_refs.objects.location import canonical, locate


@pytest.mark.parametrize(
    ("url", "kind", "root", "key"),
    [
        ("/data/a b.tif", "local", "/", "data/a b.tif"),
        ("file:///data/a%20b.tif", "local", "/", "data/a b.tif"),
        ("https://host/x/y.tif", "http", "https://host", "x/y.tif"),
        ("http://host:8080/x/y.tif", "http", "http://host:8080", "x/y.tif"),
        ("https://host/x/a%20b.tif", "http", "https://host", "x/a b.tif"),
        ("https://host/x/y.tif?v=1", "http", "https://host/?v=1", "x/y.tif"),
        ("https://host/x/a%2Fb.tif", "http", "https://host/x/a%2Fb.tif", ""),
        ("https://host/x//b.tif", "http", "https://host/x//b.tif", ""),
        ("https://host/x/../b.tif", "http", "https://host/x/../b.tif", ""),
        ("https://host/.hidden/b.tif", "http", "https://host", ".hidden/b.tif"),
        ("s3://bucket/x/y.tif", "s3", "bucket", "x/y.tif"),
        ("gs://bucket/x/y.tif", "gs", "bucket", "x/y.tif"),
        ("az://container/x/y.tif", "azure", "container", "x/y.tif"),
        ("abfs://container/x/y.tif", "azure", "container", "x/y.tif"),
        (
            "hf://datasets/owner/name@v1/x/y.tif",
            "http",
            "https://huggingface.co",
            "datasets/owner/name/resolve/v1/x/y.tif",
        ),
    ],
)
def test_a_url_says_which_store_and_which_key(url, kind, root, key):
    found = locate(url)
    assert (found.kind, found.root, found.key) == (kind, root, key)


def test_paths_become_absolute_and_urls_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert canonical("a/../b.tif") == str(tmp_path / "b.tif")
    assert canonical("file:///x/y%20z.tif") == "/x/y z.tif"
    assert canonical("https://host/a%20b.tif") == "https://host/a%20b.tif"


@pytest.mark.parametrize("url", ["ftp://host/x", "file://elsewhere/x", "hf://owner", "s3:///x"])
def test_what_cannot_be_located_is_refused(url):
    with pytest.raises(SourceError):
        locate(url)
