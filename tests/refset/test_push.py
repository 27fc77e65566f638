"""Publishing: immutable versions, `refs.json` last, cards with licence and attribution; the sets open from there."""

import sys
import types

import numpy as np
import pytest
import rasterio
import yaml

import rasteret_refs as rr
from rasteret_refs.errors import AccessError, DamagedError, ExistsError, MissingPackageError, RefsetError
from rasteret_refs.refset.opened import OpenedRefset
from rasteret_refs.refset.push import push
from tests.build.test_scan import write_cog
from tests.servers.bucket import serve_bucket

DATASET = {
    "id": "earthsearch/sentinel-2-l2a",
    "title": "Sentinel-2 Level-2A",
    "licence": "CC-BY-4.0",
    "licence_url": "https://creativecommons.org/licenses/by/4.0/",
    "commercial_use": True,
    "attribution": "Contains modified Copernicus Sentinel data",
    "source_url": "https://registry.opendata.aws/sentinel-2-l2a-cogs/",
}


def built(tmp_path, server=None, recipe=None):
    from rasteret_refs.build.run import build
    from tests.build.test_scan import scene

    path = write_cog(tmp_path / "a.tif", size=300, block=128, overviews=(2,))
    out = tmp_path / "blr.refs"
    href = path if server is None else f"{server.url}a.tif"
    build([scene("s", href)], out, axis="scene", recipe=recipe or {"source": "x", "dataset": DATASET})
    return out


@pytest.fixture
def bucket():
    with serve_bucket() as running:
        yield running


def test_a_set_is_pushed_to_a_bucket_and_opens_from_there(tmp_path, server, bucket):
    out = built(tmp_path, server)
    report = push(out, "s3://sets/blr", version="v1", storage=bucket.storage)
    assert report.url == "s3://sets/blr/v1/blr.refs"
    assert bucket.written[-1] == "sets/blr/v1/blr.refs/refs.json"
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert {name.removeprefix("sets/blr/v1/blr.refs/") for name in bucket.objects} == {
        *names, "sets/blr/v1/README.md"
    }  # fmt: skip
    assert report.files == len(names)
    opened = rr.open(report.url, storage=bucket.storage, sha256=report.sha256, allow=server.url)
    with rasterio.open(tmp_path / "a.tif") as file:
        expected = file.read(1)
    assert np.array_equal(opened.to_xarray()["a0"][0].to_numpy(), expected)
    opened.verify()


def test_a_version_is_never_written_again(tmp_path, bucket):
    out = built(tmp_path)
    push(out, "s3://sets", version="v1", storage=bucket.storage)
    before = dict(bucket.objects)
    with pytest.raises(ExistsError, match="v1"):
        push(out, "s3://sets", version="v1", storage=bucket.storage)
    assert bucket.objects == before
    push(out, "s3://sets", version="v2", storage=bucket.storage)
    assert len(bucket.objects) == 2 * len(before)


def test_a_refused_file_leaves_no_set(tmp_path, bucket):
    out = built(tmp_path)
    bucket.refuse = "scenes.parquet"
    with pytest.raises((AccessError, RefsetError), match=r"scenes\.parquet"):
        push(out, "s3://sets", version="v1", storage=bucket.storage)
    assert not any(name.endswith("refs.json") for name in bucket.objects)
    bucket.refuse = None
    assert push(out, "s3://sets", version="v1", storage=bucket.storage).files > 3


def test_a_damaged_set_is_not_pushed(tmp_path, bucket):
    out = built(tmp_path)
    (out / "scenes.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedError):
        push(out, "s3://sets", version="v1", storage=bucket.storage)
    assert bucket.written == []


def test_a_set_is_pushed_to_a_directory(tmp_path):
    out = built(tmp_path)
    report = push(out, str(tmp_path / "shared"), version="2024-06")
    assert report.url == str(tmp_path / "shared" / "2024-06" / "blr.refs")
    assert OpenedRefset(report.url).sha256 == report.sha256
    with pytest.raises(ExistsError):
        push(out, str(tmp_path / "shared"), version="2024-06")


@pytest.mark.parametrize("version", ["", ".", "..", "a/b", " v1", "v?1", "v\n1"])
def test_a_version_that_is_no_part_of_a_path_is_refused(tmp_path, version):
    with pytest.raises(RefsetError, match="version"):
        push(built(tmp_path), str(tmp_path / "shared"), version=version)


def test_plain_http_cannot_be_written(tmp_path, server):
    with pytest.raises(RefsetError, match="HTTP"):
        push(built(tmp_path), f"{server.url}sets", version="v1")


def front_matter(text):
    assert text.startswith("---\n")
    return yaml.safe_load(text.split("---\n")[1])


def test_the_card_states_licence_attribution_and_tables(tmp_path):
    out = built(tmp_path)
    push(out, str(tmp_path / "shared"), version="v1")
    text = (tmp_path / "shared" / "v1" / "README.md").read_text()
    front = front_matter(text)
    assert front["license"] == "cc-by-4.0"
    assert front["configs"] == [
        {"config_name": "scenes", "data_files": "blr.refs/scenes.parquet", "default": True}
    ]  # fmt: skip
    assert "Contains modified Copernicus Sentinel data" in text
    assert f'sha256="{OpenedRefset(out).sha256}"' in text


def test_an_unknown_licence_is_said_to_be_unknown(tmp_path):
    out = built(tmp_path, recipe={"source": "https://host/a.tif"})
    citation = rr.open(out).cite()
    assert citation.commercial_use == "unknown"
    assert "https://host/a.tif" in citation.text()
    push(out, str(tmp_path / "shared"), version="v1")
    front = front_matter((tmp_path / "shared" / "v1" / "README.md").read_text())
    assert (front["license"], front["license_name"]) == ("other", "unknown")


def test_a_citation_names_all_sources_and_the_strictest_terms(tmp_path):
    maxar = {"id": "maxar/open-data", "title": "Maxar", "licence": "CC-BY-NC-4.0", "commercial_use": False}
    merged = {"sha256": "0" * 64, "recipe": {"dataset": maxar}}
    out = built(tmp_path, recipe={"dataset": DATASET, "appended": [{"dataset": DATASET}], "merged": [merged]})
    citation = rr.open(out).cite()
    assert [dataset["id"] for dataset in citation.datasets] == [DATASET["id"], maxar["id"]]
    assert citation.commercial_use is False
    assert citation.as_json()["scenes"] == 1
    assert "no commercial use" in citation.text()


class Hub:
    """What stands for huggingface_hub: remembers one commit and its tag."""

    def __init__(self, tags=(), error=None):
        self.tags = list(tags)
        self.error = error
        self.commits = []

    def create_repo(self, repository, *, repo_type, exist_ok):
        if self.error is not None:
            raise self.error
        assert (repo_type, exist_ok) == ("dataset", True)

    def list_repo_refs(self, repository, *, repo_type):
        return types.SimpleNamespace(tags=[types.SimpleNamespace(name=tag) for tag in self.tags])

    def create_commit(self, repository, operations, *, commit_message, repo_type):
        self.commits.append((repository, {one.path_in_repo: one.path_or_fileobj for one in operations}))
        return types.SimpleNamespace(oid="abc123")

    def create_tag(self, repository, *, tag, revision, repo_type):
        assert revision == "abc123"
        self.tags.append(tag)


class HfHubHTTPError(Exception):
    def __init__(self, status):
        super().__init__(f"{status} from the hub")
        self.response = types.SimpleNamespace(status_code=status)


@pytest.fixture
def hub(monkeypatch):
    fake = Hub()
    module, errors = types.ModuleType("huggingface_hub"), types.ModuleType("huggingface_hub.errors")
    module.HfApi = lambda token=None: fake
    module.CommitOperationAdd = lambda path_in_repo, path_or_fileobj: types.SimpleNamespace(
        path_in_repo=path_in_repo, path_or_fileobj=path_or_fileobj
    )
    errors.HfHubHTTPError = HfHubHTTPError
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)
    monkeypatch.setitem(sys.modules, "huggingface_hub.errors", errors)
    return fake


def test_hugging_face_gets_one_commit_with_card_and_tag(tmp_path, hub):
    out = built(tmp_path)
    report = push(out, "hf://datasets/me/blr", version="v1")
    assert report.url == "hf://datasets/me/blr@v1/blr.refs"
    ((repository, files),) = hub.commits
    assert (repository, hub.tags) == ("me/blr", ["v1"])
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert set(files) == {f"blr.refs/{name}" for name in names} | {"README.md"}
    assert front_matter(files["README.md"].decode())["configs"][0]["data_files"] == "blr.refs/scenes.parquet"
    with pytest.raises(ExistsError):
        push(out, "hf://datasets/me/blr", version="v1")
    assert len(hub.commits) == 1


@pytest.mark.parametrize(("status", "error"), [(401, AccessError), (500, RefsetError)])
def test_refusals_of_hugging_face_are_told_apart(tmp_path, hub, status, error):
    hub.error = HfHubHTTPError(status)
    with pytest.raises(error, match=str(status)):
        push(built(tmp_path), "hf://datasets/me/blr", version="v1")


@pytest.mark.parametrize("url", ["hf://me/blr", "hf://datasets/me", "hf://datasets/me/blr@x", "hf://datasets/a/b/c"])
def test_only_datasets_of_hugging_face_are_written(tmp_path, hub, url):
    with pytest.raises(RefsetError, match="datasets/OWNER/NAME"):
        push(built(tmp_path), url, version="v1")


def test_without_the_extra_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingPackageError, match=r"rasteret-refs\[hf\]"):
        push(built(tmp_path), "hf://datasets/me/blr", version="v1")
