"""What changes, shares or tells about a whole set: the part of `Collection` that grows, moves and publishes it."""

import os
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Self

from rasteret_refs.errors import RefsetError

if TYPE_CHECKING:
    from rasteret_refs.build.append import AppendReport
    from rasteret_refs.build.scan import OnError
    from rasteret_refs.refset.cite import Citation
    from rasteret_refs.refset.opened import OpenedRefset
    from rasteret_refs.refset.push import PushReport
    from rasteret_refs.refset.views import View

OVERLAP = timedelta(days=30)
"""How far before the newest scene a recorded search begins again: most of what comes late has come by then."""


class Growing:
    """Methods of `Collection` for whole sets. Each stages the next state and publishes it in one step."""

    location: str
    storage: dict[str, Any]
    refset: "OpenedRefset"
    view: "View"
    allow: tuple[str, ...]
    check_sources: bool
    append_report: "AppendReport | None" = None
    """What `append` or `merge` did, on the collection that it returned."""

    @abstractmethod
    def save(self, out: str | os.PathLike[str], *, overwrite: bool = False) -> Self:
        """Write a view as a set of its own."""

    @abstractmethod
    def _take_labels(self, other: "OpenedRefset", ids: Sequence[str]) -> Self:
        """Take over labels by tile of a set whose scenes were merged into this one."""

    @abstractmethod
    def assign_new_splits(self) -> Self:
        """Give scenes that were appended their splits, by the rules that the set records."""

    def append(
        self,
        source: Any = None,
        *,
        overlap: timedelta = OVERLAP,
        on_error: "OnError" = "raise",
        resume: bool = False,
        progress: Callable[[str, int, int | None], None] | None = None,
        executor: Any = None,
        **source_options: Any,
    ) -> Self:
        """Append new scenes; those of the set keep their places, and readers that have it open go on.

        Parameters
        ----------
        source
            As in `build`; None: the recorded search again, from the newest scene less `overlap` on.
        overlap
            How far to look back: scenes that were published late, or replaced, since.
        on_error
            `"raise"`: the set stays as it was; `"skip"`: what cannot be referenced is recorded.
        resume
            Go on where an append to this set was stopped.
        progress
            Called with phase, count and total.
        executor
            Where headers are read, as in `build`.
        **source_options
            As in `build` (`datetime`, `assets`, `limit`, …); with `source=None` they replace the recorded ones.

        Returns
        -------
        Collection
            The set as it is now, with `append_report`: what is new, late or replaced.

        Raises
        ------
        SourceError
            The recorded source was a value in memory: it must be given again.
        UnauthorisedSourceError
            The set was not written here by you: what it records is a stranger's search, and is not run.
        RefsetError
            The set does not lie in a local directory.
        """
        from rasteret_refs.build.append import append
        from rasteret_refs.refset.trust import check_own, storage_of
        from rasteret_refs.sources.again import appended_recipe, asked_again
        from rasteret_refs.sources.resolve import resolve
        from rasteret_refs.sources.storage import public_storage

        place = self._directory("append to")
        recipe = self.refset.seal.recipe
        if source is None:
            check_own(self.refset.sha256, place, recipe)
        storage = storage_of(self.refset.seal, self.refset.sha256, self.storage)
        options = {**source_options, "storage": storage, "on_error": on_error}
        stream = (
            asked_again(recipe, self.refset.all_scenes, overlap=overlap, **options)
            if source is None
            else resolve(source, **{"assets": recipe.get("arguments", {}).get("assets"), **options})
        )
        report = append(
            stream,
            place,
            storage=stream.storage,
            storage_hints=public_storage(stream.storage),
            on_error=on_error,
            resume=resume,
            recipe=appended_recipe(recipe, stream.recipe, again=source is None, changes=source_options),
            refusals=lambda: stream.failures,
            progress=progress,
            executor=executor,
        )
        return self._reopened(report).assign_new_splits()

    def merge(
        self,
        other: "str | os.PathLike[str] | Growing",
        *,
        on_error: "OnError" = "raise",
        progress: Callable[[str, int, int | None], None] | None = None,
        reread: bool = False,
        executor: Any = None,
    ) -> Self:
        """Append the scenes of another set, or of a view, with the columns of its scene table and its labels by tile.

        Its manifests mostly hold all that is needed, and nothing is requested. Headers are read again, one request an
        object, where they say more: stacks, masks, scale, offset or nodata that vary by scene.

        Parameters
        ----------
        other
            Path or URL of a set, or a collection; what it was opened with as `allow=` holds for its objects here too.
        on_error, progress, executor
            As in `append`.
        reread
            Read all headers: notices objects that changed or went.

        Returns
        -------
        Collection
            This set with both sets' scenes, with `append_report`.

        Raises
        ------
        LayoutError
            Only one of the sets has a time axis.
        QueryError
            Both have labels by tile, which go by different keys.
        """
        from rasteret_refs.build.merge import merge
        from rasteret_refs.refset.opened import OpenedRefset
        from rasteret_refs.refset.tiles_labels import check_alike
        from rasteret_refs.refset.trust import storage_of

        place = self._directory("merge into")
        how: dict[str, Any] = {"on_error": on_error, "progress": progress, "reread": reread, "executor": executor}
        if isinstance(other, Growing) and not other.view.is_whole:
            with TemporaryDirectory() as folder:
                return self.merge(other.save(other._inside(folder)), **how)  # noqa: SLF001 - one of our own
        opened = other.refset if isinstance(other, Growing) else OpenedRefset(other, self.storage)
        if (labels := opened.tiles()) is not None and (known := self.refset.tiles()) is not None:
            check_alike(known, labels)
        ours = storage_of(self.refset.seal, self.refset.sha256, self.storage)
        how["allow"] = other.allow if isinstance(other, Growing) else ()
        report = merge(place, opened, storage={**storage_of(opened.seal, opened.sha256, None), **ours}, **how)
        merged = self._reopened(report)
        return merged._take_labels(opened, report.appended).assign_new_splits()  # noqa: SLF001 - one of our own

    def drop(self, ids: Sequence[str]) -> Self:
        """Mark scenes as dropped: `scenes` and views leave them out, and all others stay where they are.

        Raises
        ------
        QueryError
            An id that the set does not have.
        """
        from rasteret_refs.refset.publish import staged
        from rasteret_refs.refset.tombstones import drop_scenes

        place = self._directory("drop scenes of")
        with staged(place, overwrite=True) as directory:
            drop_scenes(place, directory, [ids] if isinstance(ids, str) else ids)
        return self._reopened()

    def relocate(self, prefixes: Mapping[str, str], *, storage: Mapping[str, Any] | None = None) -> Self:
        """Let references lead to other places, without a request: a bucket that moved, a mirror, https for s3.

        Parameters
        ----------
        prefixes
            Old prefix → new prefix; the longest that fits a URL counts.
        storage
            Options for the new places; hints without secrets are recorded.

        Raises
        ------
        QueryError
            A prefix that no reference has.
        """
        from rasteret_refs.refset.publish import staged
        from rasteret_refs.refset.relocate import relocate
        from rasteret_refs.sources.storage import public_storage

        place = self._directory("relocate")
        hints = None if storage is None else {**self.refset.seal.storage, **public_storage(storage)}
        with staged(place, overwrite=True) as directory:
            relocate(place, directory, prefixes, storage=hints)
        return self._reopened()

    def push(
        self, url: str, *, version: str, storage: Mapping[str, Any] | None = None, token: str | None = None
    ) -> "PushReport":
        """Publish the set, or a view as a set of its own, below a prefix that never changes, `refs.json` last.

        Parameters
        ----------
        url
            A directory, or an s3, gs, az or `hf://datasets/OWNER/NAME` URL.
        version
            Name of this state: the set lies at `URL/VERSION`; on Hugging Face it is a tag on one commit with a card.
        storage
            Prefix → obstore options, for writing.
        token
            Of Hugging Face; None: the one that `huggingface-cli login` left.

        Raises
        ------
        ExistsError
            There is such a version already.
        """
        from rasteret_refs.refset.push import push

        if not self.view.is_whole:
            with TemporaryDirectory() as folder:
                saved = self.save(self._inside(folder))
                return saved.push(url, version=version, storage=storage, token=token)
        return push(self._directory("push"), url, version=version, storage=storage, token=token)

    def cite(self) -> "Citation":
        """Tell whom to name: data sets with licence and attribution, and this set's own hash."""
        from rasteret_refs.refset.cite import cite

        return cite(self.refset)

    def export(self, out: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the references, of a view its scenes' only, as one kerchunk JSON file, for readers of no other form.

        Raises
        ------
        ExistsError
            The file exists, and may not be replaced.
        """
        from rasteret_refs.export.kerchunk_json import export_json

        if not self.view.is_whole:
            with TemporaryDirectory() as folder:
                return self.save(self._inside(folder)).export(out, overwrite=overwrite)
        return export_json(self.refset, Path(out), overwrite=overwrite)

    def _inside(self, folder: str) -> Path:
        """Where a view of this set may stand for a while, under the set's name."""
        return Path(folder, self.refset.location.rpartition("/")[2])

    def _directory(self, verb: str) -> Path:
        from rasteret_refs.objects.location import is_url

        if is_url(self.refset.location):
            raise RefsetError(f"{self.location}: expected a local set to {verb}, got a remote one; copy it first")
        return Path(self.refset.location)

    def _reopened(self, report: "AppendReport | None" = None) -> Self:
        """Open the set as it stands now."""
        kept = {"storage": self.storage, "allow": self.allow, "check_sources": self.check_sources}
        found = type(self)(self.location, **kept)  # type: ignore[call-arg]
        found.append_report = report
        return found
