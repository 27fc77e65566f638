"""Cloud-Optimized GeoTIFFs as Zarr, without copying a pixel."""

import sys
from types import ModuleType
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


class _Package(ModuleType):
    """The package itself: its public functions win over subpackages of the same name.

    Python sets `rasteret_refs.build` to the subpackage as soon as anything imports from it; `rr.build` is the function.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
