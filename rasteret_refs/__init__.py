"""Cloud-Optimized GeoTIFFs as Zarr, without copying a pixel."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rasteret_refs.collection import Collection, build, open  # noqa: A004 - rr.open
    from rasteret_refs.errors import RasteretRefsError
    from rasteret_refs.refset.plain import plain_store

__all__ = ["Collection", "RasteretRefsError", "build", "open", "plain_store"]

_HOMES = {
    "Collection": "rasteret_refs.collection",
    "RasteretRefsError": "rasteret_refs.errors",
    "build": "rasteret_refs.collection",
    "open": "rasteret_refs.collection",
    "plain_store": "rasteret_refs.refset.plain",
}
"""Imported at first use, so that `import rasteret_refs` costs next to nothing."""


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
