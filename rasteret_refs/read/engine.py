"""The xarray backend `rasteret_refs`: `xr.open_dataset("x.refs", engine="rasteret_refs")` and `open_datatree`."""

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint

from rasteret_refs.errors import QueryError
from rasteret_refs.read.cache import DiskCache
from rasteret_refs.read.cache import disk_cache as as_disk_cache
from rasteret_refs.read.dataset import groups, open_group
from rasteret_refs.read.opening import reader_of
from rasteret_refs.read.reader import Reader
from rasteret_refs.refset.opened import OpenedRefset


def open_reader(
    location: str | os.PathLike[str],
    storage: Mapping[str, Any] | None = None,
    *,
    disk_cache: DiskCache | str | os.PathLike[str] | None = None,
    **options: Any,
) -> Reader:
    """Open a reference set for reading.

    Parameters
    ----------
    location
        Path or URL of the set.
    storage
        Prefix → obstore options, over the hints that the set itself carries.
    disk_cache
        A directory, or a `DiskCache`, that keeps encoded tiles.
    **options
        Of `opening.reader_of`: `allow`, `check_sources`, `tile_cache`.
    """
    refset = OpenedRefset(os.fspath(location), storage)
    return reader_of(refset, storage, disk_cache=as_disk_cache(disk_cache), **options)


def group_path(reader: Reader, group: str | None, factor: int) -> str:
    """Find the group of a grid and a decimation factor.

    Parameters
    ----------
    group
        Name of a grid; None where there is only one; or the whole path of a group that holds arrays.
    factor
        1 for full resolution.

    Raises
    ------
    QueryError
        Nothing fits, or several grids do; the message names what there is.
    """
    known = groups(reader)
    if group is not None and group.strip("/") in known:
        return group.strip("/")
    name = f"factor_{factor}"
    if group is None:
        fitting = [path for path in known if path == name or path.endswith(f"/{name}")]
        if len(fitting) == 1:
            return fitting[0]
        problem = f"several groups have factor {factor}" if fitting else f"no group has factor {factor}"
        raise QueryError(f"expected group= to name one of {known}: {problem}")
    path = f"{group.strip('/')}/{name}".lstrip("/")  # a grid may lie at the root
    if path not in known:
        raise QueryError(f"expected one of the groups {known}, found none for group={group!r} and factor={factor}")
    return path


def _reader(opened: Any, **options: Any) -> Reader:
    return opened if isinstance(opened, Reader) else open_reader(opened, **options)


def _refuse_scaling(mask_and_scale: bool | None) -> None:
    if mask_and_scale:
        raise QueryError(
            "expected mask_and_scale=False: rasteret_refs.open(…).to_xarray(scale=True, masked=True) scales and masks "
            "by what the product, STAC and the TIFFs say"
        )


_OPENING = ("storage", "allow", "check_sources", "tile_cache", "disk_cache")
"""Options of `open_reader`."""


class RefsBackendEntrypoint(BackendEntrypoint):
    """Opens reference sets."""

    description: ClassVar[str] = "Open rasteret_refs reference sets (COGs as virtual Zarr)"
    supports_groups: ClassVar[bool] = True
    open_dataset_parameters: ClassVar[tuple[str, ...] | None] = (
        "filename_or_obj",
        "drop_variables",
        "group",
        "factor",
        *_OPENING,
        "mask_and_scale",
        "decode_times",
        "decode_timedelta",
        "use_cftime",
        "concat_characters",
        "decode_coords",
    )

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
        factor: int = 1,
        storage: Mapping[str, Any] | None = None,
        allow: str | Sequence[str] = (),
        check_sources: bool = True,
        tile_cache: int | None = None,
        disk_cache: DiskCache | str | os.PathLike[str] | None = None,
        mask_and_scale: bool | None = None,
        decode_times: Any = True,
        decode_timedelta: Any = None,  # noqa: ARG002 - of all engines; no array here is one
        use_cftime: Any = None,  # noqa: ARG002
        concat_characters: Any = None,  # noqa: ARG002
        decode_coords: Any = True,
        rows: Any = None,
    ) -> xr.Dataset:
        """Open one grid at one resolution; see `group_path`, `open_group` and, of what is kept, `Reader`.

        Pixels keep the dtype of the TIFFs. Scaling them takes more than TIFFs say, so `mask_and_scale` may not be True.

        Raises
        ------
        QueryError
            Nothing fits, or several grids do; `mask_and_scale` is True.
        """
        _refuse_scaling(mask_and_scale)
        given = (storage, allow, check_sources, tile_cache, disk_cache)
        reader = _reader(filename_or_obj, **dict(zip(_OPENING, given, strict=True)))
        return open_group(
            reader,
            group_path(reader, group, factor),
            decode_times=decode_times,
            decode_coords=decode_coords,
            drop_variables=drop_variables,
            rows=rows,
        )

    def open_groups_as_dict(
        self, filename_or_obj: Any, *, group: str | None = None, **options: Any
    ) -> dict[str, xr.Dataset]:
        """Open every group that holds arrays, below `group` when it is given; keys are absolute paths.

        Parameters
        ----------
        **options
            Of `open_dataset`, but `factor`.

        Raises
        ------
        QueryError
            As `open_dataset`; `factor` is given.
        """
        if "factor" in options:
            raise QueryError("expected no factor= where groups of every factor are opened")
        opening = {name: options.pop(name) for name in _OPENING if name in options}
        reader = _reader(filename_or_obj, **opening)
        below = (group or "").strip("/")
        return {
            f"/{path.removeprefix(below).strip('/')}": self.open_dataset(reader, group=path, **options)
            for path in groups(reader)
            if not below or path == below or path.startswith(f"{below}/")
        }

    def open_datatree(self, filename_or_obj: Any, **options: Any) -> xr.DataTree:
        """Open all groups as a tree."""
        return xr.DataTree.from_dict(self.open_groups_as_dict(filename_or_obj, **options))

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Recognise `NAME.refs` and opened readers."""
        if isinstance(filename_or_obj, Reader):
            return True
        return isinstance(filename_or_obj, str | os.PathLike) and os.fspath(filename_or_obj).rstrip("/").endswith(
            ".refs"
        )
