"""All that a user says about a source besides the source itself, as one value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rasteret_refs.sources.hrefs import rewritten
from rasteret_refs.sources.item_filter import ItemFilter
from rasteret_refs.sources.rasteret_header import Assumptions
from rasteret_refs.sources.stac_assets import AssetChoice
from rasteret_refs.sources.stac_items import ItemReader
from rasteret_refs.sources.storage import Consent


@dataclass(frozen=True, kw_only=True)
class Options:
    """Arguments of `resolve`, checked; see there."""

    wanted: ItemFilter
    collections: Sequence[str] | None
    ids: Sequence[str] | None
    limit: int | None
    assets: Sequence[str] | Mapping[str, str] | None
    bands: Sequence[str] | None
    columns: Mapping[str, Any] | None
    url_rewrite: Mapping[str, str]
    storage: Mapping[str, Any]
    consent: Consent
    assumptions: Assumptions
    catalog: Any

    @property
    def searches(self) -> bool:
        """Whether anything is asked for that only items, tables or an API can answer."""
        wanted = self.wanted
        conditions = (wanted.bbox, wanted.intersects, wanted.datetime, wanted.query, wanted.filter)
        return any(one is not None for one in (*conditions, self.collections, self.ids))

    def choice(self, aliases: Mapping[str, str] | None = None) -> AssetChoice:
        """Which assets are meant, for one iteration over a source."""
        return AssetChoice(self.assets, bands=self.bands, aliases=aliases)

    def reader(self, choice: AssetChoice, dataset: Any = None) -> ItemReader:
        """Reader of items; what the catalog rewrites, the user's rules rewrite further (a mirror of a bucket)."""
        below = dataset.url_rewrite if dataset is not None else {}
        rewrite = {**{old: rewritten(new, self.url_rewrite) for old, new in below.items()}, **self.url_rewrite}
        consent = Consent(self.storage, dataset.requester_pays) if dataset is not None else self.consent
        return ItemReader(choice=choice, url_rewrite=rewrite, consent=consent)
