"""What is kept of items and rows besides what a scene needs: without credentials, and equal values once."""

from collections.abc import Iterable, Mapping
from typing import Any

from rasteret_refs.errors import SourceError
from rasteret_refs.sources.hrefs import is_url, unsigned

SHARED_VALUES = 200_000
"""Distinct values that are remembered at most."""


def without_credentials(value: Any) -> Any:
    """Copy of a JSON value whose URLs carry no credentials; a URL that cannot be cleaned becomes None."""
    if isinstance(value, str):
        # Credentials stand in a query or before the host's `@`.
        if ("?" not in value and "@" not in value) or not is_url(value):
            return value
        try:
            return unsigned(value)[0]
        except SourceError:
            return None
    if isinstance(value, Mapping):
        return {key: without_credentials(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [without_credentials(member) for member in value]
    return value


class Shared:
    """Makes equal values one object: assets of thousands of items say the same of bands, roles and shapes.

    Without it 10,000 Sentinel-2 items took 370 MB. What is shared must not be changed by whoever gets it.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._mappings: dict[tuple[Any, ...], dict[str, Any]] = {}

    def value(self, value: Any) -> Any:
        """`value` without credentials: the first equal one. Numbers, flags and None are as they are."""
        if isinstance(value, str):
            key = value
        elif isinstance(value, list | tuple | Mapping):
            key = "\0" + repr(value)  # never the text of a string value
        else:
            return value
        if key in self._values:
            return self._values[key]
        clean = without_credentials(value)
        if len(self._values) < SHARED_VALUES:
            self._values[key] = clean
        return clean

    def fields(self, values: Mapping[str, Any], *, without: Iterable[str] = ()) -> dict[str, Any]:
        """The same fields but some, each value shared."""
        return {self.value(key): self.value(value) for key, value in values.items() if key not in without}

    def mapping(self, values: dict[str, Any]) -> dict[str, Any]:
        """The first mapping of these (shared) values."""
        # Shared values live as long as this object does, so that their identities stay theirs.
        key = tuple(
            (name, id(value) if isinstance(value, str | list | dict) else (type(value), value))
            for name, value in values.items()
        )
        if len(self._values) >= SHARED_VALUES:
            return values
        return self._mappings.setdefault(key, values)
