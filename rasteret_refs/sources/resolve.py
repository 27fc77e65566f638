"""From whatever a user names as a source to a stream of scenes: the one door to this folder."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rasteret_refs.build.scene import Scene
from rasteret_refs.errors import NotFoundError, SourceError
from rasteret_refs.sources.files import expand, file_scenes, read_list
from rasteret_refs.sources.hrefs import is_url
from rasteret_refs.sources.values import OnError, Progress, Refusals, SceneStream


def resolve(
    source: Any,
    *,
    assets: Sequence[str] | Mapping[str, str] | None = None,
    limit: int | None = None,
    storage: Mapping[str, Any] | None = None,
    on_error: OnError = "raise",
    progress: Progress | None = None,
) -> SceneStream:
    return plain_stream(source, assets=assets, limit=limit, storage=storage, on_error=on_error, progress=progress)


def plain_stream(
    source: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    *,
    assets: Sequence[str] | Mapping[str, str] | None,
    limit: int | None,
    storage: Mapping[str, Any] | None,
    on_error: OnError,
    progress: Progress | None,
) -> SceneStream:
    entries = [source] if isinstance(source, str | os.PathLike) else list(source)
    urls: list[str] = []
    for entry in entries:
        text = os.fspath(entry)
        if text.lower().endswith(".txt") and not is_url(text):
            path = expand(text)[0]
            if not os.path.isfile(path):
                raise NotFoundError(f"{path}: expected a list of TIFFs, found nothing")
            with open(path, encoding="utf-8") as stream:
                urls.extend(read_list(stream.read(), path))
        else:
            urls.extend(expand(text))
    if limit is not None:
        urls = urls[:limit]
    name = "image"
    if assets is not None:
        names = list(assets)
        if len(names) != 1:
            raise SourceError(f"plain files have one asset each; expected one name for it, found {names}")
        name = names[0]

    def produce(refusals: Refusals) -> Iterable[Scene]:
        return file_scenes(urls, refusals, asset=name)

    recipe = {"kind": "files", "source": [os.fspath(entry) for entry in entries]}
    return SceneStream(
        produce, recipe=recipe, axis="scene", storage=storage, on_error=on_error, progress=progress, total=len(urls)
    )
