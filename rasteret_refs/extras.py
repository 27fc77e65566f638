"""Optional packages: where one is missing, the error names the extra that brings it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rasteret_refs.errors import MissingPackageError

_EXTRAS: Final = {
    "cql2": "tables",
    "dask": "dask",
    "distributed": "dask",
    "duckdb": "tables",
    "geopandas": "tables",
    "huggingface_hub": "hf",
    "odc": "geo",
    "rasterio": "geo",
    "rioxarray": "geo",
    "shapely": "geo",
    "torch": "ml",
    "torchgeo": "ml",
}
"""By package; see `pyproject.toml`."""


@contextmanager
def needed(what: str, *, extra: str | None = None) -> Iterator[None]:
    """Name the extra that brings a package whose import fails inside; also a decorator.

    Parameters
    ----------
    what
        What the package is needed for: the subject of the message.
    extra
        The extra to name; None: the smallest one that has the package.

    Raises
    ------
    MissingPackageError
        An optional package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _EXTRAS or isinstance(error, MissingPackageError):
            raise
        brings = extra or _EXTRAS[package]
        message = f"{what} needs the package {package}: pip install 'rasteret-refs[{brings}]'"
        raise MissingPackageError(message, name=package) from error
