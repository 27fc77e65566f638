"""Publishing on Hugging Face: the whole set and its card in one commit, with the version as its tag."""

from pathlib import Path
from typing import Any

from rasteret_refs.errors import AccessError, ExistsError, RefsetError
from rasteret_refs.extras import needed
from rasteret_refs.refset.card import CARD, card
from rasteret_refs.refset.cite import cite
from rasteret_refs.refset.layout import SEAL
from rasteret_refs.refset.opened import OpenedRefset

_PARTS = 2
_REFUSED = (401, 403)


def push_to_hugging_face(
    refset: OpenedRefset, base: Path, names: list[str], url: str, *, version: str, token: str | None, api: Any = None
) -> str:
    """Publish a set as one commit.

    Parameters
    ----------
    refset, base, names
        The set, its directory, and its files but the seal.
    url
        `hf://datasets/OWNER/NAME`.
    version
        Tag of the commit.
    token
        None: the one that the user is logged in with.
    api
        `huggingface_hub.HfApi`, or what stands for it in tests.

    Returns
    -------
    str
        `hf://datasets/OWNER/NAME@VERSION/NAME.refs`, which `rr.open` opens.

    Raises
    ------
    ExistsError
        The tag is there already.
    AccessError
        No right to write.
    RefsetError
        The URL is not a dataset's, or huggingface-hub is not installed, or it refuses.
    """
    rest = url.removeprefix("hf://").strip("/")
    kind, _, repository = rest.partition("/")
    if kind != "datasets" or len(repository.split("/")) != _PARTS or "@" in repository:
        raise RefsetError(f"{url}: expected hf://datasets/OWNER/NAME")
    with needed("pushing to Hugging Face"):
        from huggingface_hub import CommitOperationAdd, HfApi
        from huggingface_hub.errors import HfHubHTTPError
    folder = base.resolve().name
    place = f"hf://datasets/{repository}@{version}/{folder}"
    text = card(refset, cite(refset), folder=folder, location=place)
    api = api or HfApi(token=token)
    operations = [
        CommitOperationAdd(path_in_repo=f"{folder}/{name}", path_or_fileobj=str(base / name)) for name in [*names, SEAL]
    ]
    operations.append(CommitOperationAdd(path_in_repo=CARD, path_or_fileobj=text.encode()))
    try:
        api.create_repo(repository, repo_type="dataset", exist_ok=True)
        if version in {tag.name for tag in api.list_repo_refs(repository, repo_type="dataset").tags}:
            raise ExistsError(f"{place}: expected a new version, got one that is published")
        commit = api.create_commit(
            repository, operations, commit_message=f"Publish {folder} {version}", repo_type="dataset"
        )
        api.create_tag(repository, tag=version, revision=commit.oid, repo_type="dataset")
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        refused = AccessError if status in _REFUSED else RefsetError
        raise refused(f"{place}: not published, Hugging Face answered: {str(error).splitlines()[0]}") from error
    return place
