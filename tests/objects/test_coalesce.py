"""The pure planner of range requests."""

from hypothesis import given
from hypothesis import strategies as st

from rasteret_refs.objects.coalesce import coalesce
from rasteret_refs.tiff.values import ByteRange


def spans(requests):
    return [(r.start, r.stop, r.members) for r in requests]


def ranges(*pairs):
    return [ByteRange(start=a, stop=b) for a, b in pairs]


def test_neighbours_within_the_gap_share_a_request():
    assert spans(coalesce(ranges((0, 10), (15, 20), (26, 30)), gap=5, size=100)) == [(0, 20, (0, 1)), (26, 30, (2,))]


def test_a_request_does_not_grow_beyond_the_size():
    assert spans(coalesce(ranges((0, 10), (10, 20), (20, 30)), gap=5, size=20)) == [(0, 20, (0, 1)), (20, 30, (2,))]


def test_one_range_may_be_larger_than_the_size():
    assert spans(coalesce(ranges((0, 100)), gap=5, size=20)) == [(0, 100, (0,))]


def test_repeated_and_overlapping_ranges_are_fetched_once():
    assert spans(coalesce(ranges((5, 9), (0, 10), (5, 9)), gap=0, size=100)) == [(0, 10, (1, 0, 2))]


def test_empty_ranges_need_no_request():
    assert coalesce(ranges((3, 3))) == ()


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 60)), max_size=40), st.integers(0, 50), st.integers(1, 200)
)
def test_every_range_lies_inside_exactly_one_request_and_requests_do_not_overlap_needlessly(pairs, gap, size):
    wanted = ranges(*[(a, a + n) for a, n in pairs])
    requests = coalesce(wanted, gap=gap, size=size)
    members = sorted(m for r in requests for m in r.members)
    assert members == [i for i, r in enumerate(wanted) if r.stop > r.start]
    for request in requests:
        assert request.start == min(wanted[m].start for m in request.members)
        assert request.stop == max(wanted[m].stop for m in request.members)
        assert (
            request.stop - request.start <= size
            or len(request.members) == 1
            or any(wanted[m].stop - wanted[m].start > size for m in request.members)
        )
    assert [r.start for r in requests] == sorted(r.start for r in requests)
