"""Estimates before a build: what is counted, what is asked for (nothing but the search), and who pays."""

from rasteret_refs.build.dryrun import estimate
from rasteret_refs.build.run import build
from rasteret_refs.build.scene import Asset, Scene
from tests.build.test_scan import scene, write_cog


def test_remote_assets_are_counted_by_host_and_nothing_is_requested(server):
    scenes = [scene(str(n), f"{server.url}{n}.tif", f"s3://bucket/{n}.tif", f"/data/{n}.tif") for n in range(100)]
    found = estimate(iter(scenes))
    assert server.stats().requests == 0
    assert (found.scenes, found.assets, found.local, found.ready) == (100, 300, 100, 0)
    assert sorted(found.hosts.values()) == [100, 100]
    assert 200 <= found.requests <= 210
    assert not found.paid_by_reader


def test_the_estimate_of_requests_and_bytes_fits_what_a_build_does(server, tmp_path):
    write_cog(tmp_path / "a.tif")
    scenes = [scene(str(n), f"{server.url}a.tif") for n in range(60)]
    found = estimate(scenes)
    report = build(scenes, tmp_path / "x.refs", axis="scene")
    assert abs(found.requests - report.requests) <= 0.1 * report.requests
    assert report.bytes / 3 <= found.bytes <= 3 * report.bytes


def test_whoever_agreed_to_pay_is_told(tmp_path):
    scenes = [scene("s", "s3://usgs-landsat/a.tif")]
    found = estimate(scenes, storage={"s3://usgs-landsat/": {"request_payer": True}})
    assert found.paid_by_reader
    assert found.egress_dollars > 0
    assert found.as_json()["assumptions"]["dollars_a_gigabyte"] > 0


def test_headers_that_the_source_holds_cost_nothing(tmp_path):
    from tests.virtual.plain_refs import parsed

    header = parsed(write_cog(tmp_path / "a.tif"))
    scenes = [Scene(id="s", assets=(Asset(name="a", href="https://h/a.tif", header=header),))]
    found = estimate(scenes)
    assert (found.ready, found.requests, found.bytes, found.egress_dollars) == (1, 0, 0, 0.0)
