"""Whom to name: the data sets that a reference set leads to, with licence and attribution, and the set itself."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasteret_refs.refset.opened import OpenedRefset

_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """What a publication that uses the set should say."""

    name: str
    """The set's name, without place."""
    sha256: str
    """Hash of `refs.json`: `rr.open(…, sha256=…)` opens this very state."""
    scenes: int
    datasets: tuple[Mapping[str, Any], ...]
    """Catalog facts of each source: `id`, `title`, `licence`, `licence_url`, `commercial_use`, `attribution`, ….
    A source outside the catalog has its address as `title`, and `unknown` as licence."""

    @property
    def commercial_use(self) -> bool | str:
        """`False` where any source forbids it, `True` where all allow it, else `unknown`."""
        flags = [dataset.get("commercial_use", "unknown") for dataset in self.datasets]
        if False in flags:
            return False
        return True if flags and all(flag is True for flag in flags) else "unknown"

    def text(self) -> str:
        """Return paragraphs for a publication or a model card; control characters of a stranger's are spelt out."""
        lines = [f"{self.name}: {self.scenes} scenes referenced with rasteret_refs; refs.json sha256 {self.sha256}"]
        for dataset in self.datasets:
            words = {True: "commercial use allowed", False: "no commercial use"}
            use = words.get(dataset.get("commercial_use", "unknown"), "commercial use: unknown")
            licence = dataset.get("licence", "unknown")
            where = f" <{dataset['licence_url']}>" if dataset.get("licence_url") else ""
            lines.append(f"- {dataset['title']}. Licence: {licence}{where} ({use}).")
            if dataset.get("attribution"):
                lines.append(f"  {dataset['attribution']}")
            if dataset.get("source_url"):
                lines.append(f"  {dataset['source_url']}")
        return "\n".join("".join(c if c.isprintable() else ascii(c)[1:-1] for c in line) for line in lines)

    def as_json(self) -> dict[str, Any]:
        """Return JSON values for programs."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "scenes": self.scenes,
            "commercial_use": self.commercial_use,
            "datasets": [dict(dataset) for dataset in self.datasets],
        }


def cite(refset: OpenedRefset) -> Citation:
    """Collect what the set records of its sources, those of appended scenes and merged sets included."""
    found: dict[str, Mapping[str, Any]] = {}
    for recipe in _recipes(refset.seal.recipe):
        dataset = recipe.get("dataset") or _unlisted(recipe, refset.seal.sources)
        found.setdefault(str(dataset.get("id") or dataset["title"]), dataset)
    name = refset.location.rstrip("/").rpartition("/")[2]
    return Citation(name=name, sha256=refset.sha256, scenes=int(refset.scenes.num_rows), datasets=tuple(found.values()))


def _recipes(recipe: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield recipe
    yield from recipe.get("appended", ())
    for merged in recipe.get("merged", ()):
        yield from _recipes(merged["recipe"])


def _unlisted(recipe: Mapping[str, Any], prefixes: Sequence[str]) -> Mapping[str, Any]:
    """Name a source that the catalog does not know: what is not said is unknown, never allowed."""
    source = recipe.get("source")
    listed = source if isinstance(source, list) else [source]
    names = [str(one) for one in listed if one]
    title = ", ".join(names[:_SHOWN]) if 0 < len(names) <= _SHOWN else ", ".join(prefixes[:_SHOWN])
    return {"title": title or "unknown source", "licence": "unknown", "commercial_use": "unknown"}
