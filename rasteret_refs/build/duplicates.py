"""Scenes that come with one id: equal ones are one scene, others are kept under ids of their own and marked."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from rasteret_refs.build.scan import ScannedScene

DUPLICATE_OF: Final = "refs:duplicate_of"
"""Column of the scene table: the id that a scene came with, where another scene has it."""


def told_apart(
    scanned: Sequence[ScannedScene], known: Iterable[str] = ()
) -> tuple[list[ScannedScene], list[ScannedScene]]:
    """Give every scene an id of its own.

    Of several scenes with one id, those that refer to the same objects are one; of the others the first by `updated`,
    then by its objects' names, keeps the id, and the next ones become `<id>~2`, `<id>~3`, … with the property
    `refs:duplicate_of`. The order in which a source gives them does not matter.

    Parameters
    ----------
    scanned
        Scenes of one batch.
    known
        Ids that are taken: those of the set that the scenes are appended to.

    Returns
    -------
    tuple of list
        The scenes to place, in their order, and those that only repeat another.
    """
    by_id: dict[str, list[ScannedScene]] = {}
    for entry in scanned:
        by_id.setdefault(entry.scene.id, []).append(entry)
    taken = {*known, *by_id}
    kept = set(known)
    renamed: dict[int, ScannedScene] = {}
    repeated: list[ScannedScene] = []
    for name, entries in by_id.items():
        if len(entries) == 1 and name not in kept:
            continue
        seen: set[Any] = set()
        first = name not in kept
        for entry in sorted(entries, key=_rank):
            identity = objects_of(entry)
            if identity in seen:
                repeated.append(entry)
                continue
            seen.add(identity)
            if not first:
                renamed[id(entry)] = _renamed(entry, _free(name, taken))
            first = False
    gone = {id(entry) for entry in repeated}
    return [renamed.get(id(entry), entry) for entry in scanned if id(entry) not in gone], repeated


def objects_of(entry: ScannedScene) -> frozenset[tuple[str, str, Any]]:
    """Return what a scene refers to: asset, URL, and the object's ETag, or else its size."""
    return frozenset((asset.name, asset.url, asset.etag or asset.size) for asset in entry.assets)


def _rank(entry: ScannedScene) -> tuple[str, list[tuple[str, str]], int]:
    objects = sorted((asset.name, asset.url) for asset in entry.assets)
    return str(entry.scene.properties.get("updated") or ""), objects, entry.position


def _free(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}~{number}" in taken:
        number += 1
    taken.add(f"{name}~{number}")
    return f"{name}~{number}"


def _renamed(entry: ScannedScene, name: str) -> ScannedScene:
    scene = entry.scene
    marked = replace(scene, id=name, properties={**scene.properties, DUPLICATE_OF: scene.id})
    return replace(entry, scene=marked, failures=tuple(replace(failure, scene=name) for failure in entry.failures))
