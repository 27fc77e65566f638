"""The card of a published set: Hugging Face's dataset card, readable anywhere (YAML front matter and Markdown)."""

import json
from typing import Final

from rasteret_refs.refset.cite import Citation
from rasteret_refs.refset.layout import FAILURES, SCENES, TILES
from rasteret_refs.refset.opened import OpenedRefset

CARD: Final = "README.md"
_SPDX: Final = {
    "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "odbl", "odc-by", "pddl", "apache-2.0",
    "mit",
}  # fmt: skip
"""Licence identifiers that Hugging Face knows and that catalogs name
(https://huggingface.co/docs/hub/repositories-licenses); any other is `other` with its name."""
_TITLES: Final = {SCENES: "scenes", TILES: "tiles", FAILURES: "failures"}


def card(refset: OpenedRefset, citation: Citation, *, folder: str, location: str) -> str:
    """Return the card's text.

    Parameters
    ----------
    refset
        The set.
    citation
        `cite.cite` of it.
    folder
        Where the set lies in the repository: the tables become configurations of the dataset viewer.
    location
        URL under which the set will open.
    """
    licences = sorted({str(dataset.get("licence", "unknown")) for dataset in citation.datasets})
    single = licences[0].lower() if len(licences) == 1 else ""
    front = [f"license: {single if single in _SPDX else 'other'}"]
    if single not in _SPDX:
        front.append(f"license_name: {json.dumps(' and '.join(licences))}")
        links = [dataset["licence_url"] for dataset in citation.datasets if dataset.get("licence_url")]
        if links:
            front.append(f"license_link: {json.dumps(links[0])}")
    front.append(f"pretty_name: {json.dumps(citation.name)}")
    front += ["tags:", "- geospatial", "- zarr", "- earth-observation", "configs:"]
    for name, title in _TITLES.items():
        if name in refset.seal.files and name != FAILURES:
            default = ["  default: true"] if name == SCENES else []
            front += [f"- config_name: {title}", f"  data_files: {json.dumps(f'{folder}/{name}')}", *default]
    body = [
        f"# {citation.name}",
        "",
        f"{citation.scenes} scenes of Cloud-Optimized GeoTIFFs as Zarr: references only, no pixel is copied.",
        f"The images lie at {', '.join(f'`{prefix}`' for prefix in refset.seal.sources)}.",
        "",
        "```python",
        "import rasteret_refs as rr",
        "",
        f'refs = rr.open("{location}", sha256="{citation.sha256}")',
        "refs.scenes, refs.groups",
        "```",
        "",
        "## Licence and attribution",
        "",
        citation.text(),
        "",
        "The licence of the images is their provider's; `unknown` means that nobody has verified it.",
    ]
    return "\n".join(["---", *front, "---", "", *body, ""])
