"""Hrefs: where they point, and that no secret stays in them."""

import pytest

from rasteret_refs.errors import SourceError
from rasteret_refs.sources.hrefs import absolute, rewritten, unsigned
from rasteret_refs.sources.kept import without_credentials
from rasteret_refs.sources.storage import merged, public_storage


@pytest.mark.parametrize(
    ("href", "base", "expected"),
    [
        ("./a.tif", "/data/items/i.json", "/data/items/a.tif"),
        ("../a.tif", "/data/items/i.json", "/data/a.tif"),
        ("a.tif", "https://h/x/i.json", "https://h/x/a.tif"),
        ("../../a.tif", "https://h/x/y/i.json", "https://h/a.tif"),
        ("/a.tif", "https://h/x/i.json", "https://h/a.tif"),
        ("../a.tif", "s3://bucket/x/i.json", "s3://bucket/a.tif"),
        ("/a.tif", "s3://bucket/x/i.json", "s3://bucket/a.tif"),
        ("/abs/a.tif", "/data/i.json", "/abs/a.tif"),
        ("S3://bucket/a.tif", None, "s3://bucket/a.tif"),
        ("file:///data/a%20b.tif", None, "/data/a b.tif"),
        ("//h/a.tif", None, "https://h/a.tif"),
    ],
)
def test_hrefs_are_made_absolute(href, base, expected):
    assert absolute(href, base) == expected


def test_a_relative_href_of_a_document_in_memory_is_refused():
    with pytest.raises(SourceError, match="relative"):
        absolute("a.tif", None)


@pytest.mark.parametrize("href", ["ftp://h/a.tif", "/vsizip/a.zip/b.tif", "", "/vsimem/x", "file://other/a.tif"])
def test_what_is_no_object_of_its_own_is_refused(href):
    with pytest.raises(SourceError):
        absolute(href, "/data/i.json")


SAS = "st=2024&se=2025&sp=rl&sv=2021&sr=c&skoid=1&sktid=2&skt=3&ske=4&sks=b&skv=5&sig=SECRET%3D"


def test_an_azure_signature_is_stripped_and_named():
    url = "https://acc.blob.core.windows.net/c/a.tif"
    assert unsigned(f"{url}?{SAS}") == (url, "azure-sas")
    assert unsigned(f"{url}?snapshot=7&{SAS}") == (url + "?snapshot=7", "azure-sas")
    assert unsigned(url + "?snapshot=7") == (url + "?snapshot=7", None)


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Signature=SECRET&X-Amz-Credential=SECRET",
        "AWSAccessKeyId=SECRET&Signature=SECRET&Expires=1",
        "token=SECRET",
        "X-Goog-Signature=SECRET",
        "access_token=SECRET",
    ],
)
def test_other_credentials_are_refused_without_repeating_them(query):
    with pytest.raises(SourceError) as caught:
        unsigned("https://h/a.tif?" + query)
    assert "SECRET" not in str(caught.value)
    assert "https://h/a.tif" in str(caught.value)


def test_a_password_in_the_host_is_refused_without_repeating_it():
    with pytest.raises(SourceError) as caught:
        unsigned("https://me:SECRET@h/a.tif")
    assert "SECRET" not in str(caught.value)


def test_credentials_are_taken_out_of_kept_properties_at_any_depth():
    value = {"a": [{"href": f"https://x/y?{SAS}"}], "b": "https://x/y?token=SECRET", "c": "plain ? text", "n": 1}
    assert without_credentials(value) == {"a": [{"href": "https://x/y"}], "b": None, "c": "plain ? text", "n": 1}


def test_the_longest_prefix_is_rewritten():
    rules = {"https://h/": "s3://b/", "https://h/data/": "s3://data/"}
    assert rewritten("https://h/data/a.tif", rules) == "s3://data/a.tif"
    assert rewritten("https://other/a.tif", rules) == "https://other/a.tif"


def test_recorded_storage_options_hold_no_secret():
    storage = {
        "s3://b/": {"request_payer": True, "region": "us-west-2", "aws_secret_access_key": "SECRET", "token": "SECRET"},
        "https://x.blob.core.windows.net/": "planetary-computer",
    }
    assert public_storage(storage) == {
        "s3://b/": {"request_payer": True, "region": "us-west-2"},
        "https://x.blob.core.windows.net/": "planetary-computer",
    }


def test_options_of_the_user_count_more_than_the_catalogs_one_by_one():
    catalog = {"s3://b/": {"region": "us-west-2", "request_payer": False}, "s3://c/": "anonymous"}
    user = {"s3://b/": {"request_payer": True}, "s3://c/": {"region": "x"}}
    assert merged(catalog, user) == {
        "s3://b/": {"region": "us-west-2", "request_payer": True},
        "s3://c/": {"region": "x"},
    }
