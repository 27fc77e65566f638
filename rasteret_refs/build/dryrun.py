"""What a build would ask for, before it does: requests, bytes, time and money, from the scenes alone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rasteret_refs.build.headers import FirstRead
from rasteret_refs.build.scene import Scene, SceneFailure
from rasteret_refs.objects.client import DEFAULT_CONCURRENCY
from rasteret_refs.objects.location import canonical, locate

SECOND_REQUEST: Final = 0.02
"""Share of headers that one request does not hold: measured on COGs of GDAL's driver, whose headers come first."""
ROUND_TRIP: Final = 0.08
"""Seconds from request to answer, within a continent: an assumption."""
PARSED_A_SECOND: Final = 1500.0
"""Headers that one process takes in at most, without delay (tests/benchmarks/bench_build.py)."""
DOLLARS_A_GIGABYTE: Final = 0.09
"""AWS's and Google's list price of traffic to the internet; Azure's is 0.087."""
DOLLARS_A_THOUSAND_GETS: Final = 0.0004
"""S3 standard, us-west-2; Google asks the same."""
_GIGABYTE: Final = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a build would cost. Nothing but the search for scenes was requested."""

    scenes: int
    assets: int
    failures: tuple[SceneFailure, ...]
    """Scenes that the source itself refuses."""
    ready: int
    """Assets whose headers the source holds: no request."""
    local: int
    """Assets that are files of this machine."""
    hosts: Mapping[str, int] = field(default_factory=dict)
    """Remote assets a host or bucket."""
    requests: int
    bytes: int
    seconds: float
    """At `ROUND_TRIP` a request, `DEFAULT_CONCURRENCY` at once a host, `PARSED_A_SECOND` in all."""
    egress_dollars: float
    """What the bytes and requests cost whoever pays for them: the reader, where a bucket is requester pays and is read
    from outside its region; else the provider."""
    paid_by_reader: bool
    """Some bucket's storage options agree to pay."""

    def as_json(self) -> dict[str, Any]:
        """Return JSON values for programs."""
        return {
            "scenes": self.scenes,
            "assets": self.assets,
            "failures": len(self.failures),
            "headers_in_source": self.ready,
            "local": self.local,
            "hosts": dict(self.hosts),
            "requests": self.requests,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 1),
            "egress_dollars": round(self.egress_dollars, 4),
            "paid_by_reader": self.paid_by_reader,
            "assumptions": {
                "round_trip_seconds": ROUND_TRIP,
                "requests_at_once": DEFAULT_CONCURRENCY,
                "dollars_a_gigabyte": DOLLARS_A_GIGABYTE,
                "dollars_a_thousand_requests": DOLLARS_A_THOUSAND_GETS,
            },
        }


def estimate(
    scenes: Iterable[Scene],
    *,
    storage: Mapping[str, Any] | None = None,
    refusals: Callable[[], Sequence[SceneFailure]] = tuple,
) -> Estimate:
    """Count what a build would fetch.

    Parameters
    ----------
    scenes
        From `sources.resolve`; iterated once, which searches but reads no image.
    storage
        Prefix → options: tells who pays.
    refusals
        Gives, after iteration, the scenes that the source refused.
    """
    counts = {"scenes": 0, "assets": 0, "ready": 0, "local": 0}
    hosts: dict[str, int] = {}
    for scene in scenes:
        counts["scenes"] += 1
        for asset in scene.assets:
            counts["assets"] += 1
            if asset.header is not None:
                counts["ready"] += 1
                continue
            place = locate(canonical(asset.href))
            if place.kind == "local":
                counts["local"] += 1
            else:
                hosts[place.host] = hosts.get(place.host, 0) + 1
    remote = sum(hosts.values())
    requests = round(remote * (1.0 + SECOND_REQUEST))
    size = remote * FirstRead().size
    seconds = max([count * ROUND_TRIP / DEFAULT_CONCURRENCY for count in hosts.values()], default=0.0)
    paid = any(
        isinstance(options, Mapping) and (options.get("request_payer") or options.get("user_project"))
        for options in (storage or {}).values()
    )
    return Estimate(
        **counts,
        failures=tuple(refusals()),
        hosts=dict(sorted(hosts.items())),
        requests=requests,
        bytes=size,
        seconds=max(seconds + (ROUND_TRIP if remote else 0.0), counts["assets"] / PARSED_A_SECOND),
        egress_dollars=size / _GIGABYTE * DOLLARS_A_GIGABYTE + requests / 1000 * DOLLARS_A_THOUSAND_GETS,
        paid_by_reader=paid,
    )
