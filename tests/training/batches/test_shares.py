"""Every pair of a batch is some rank's, in the order of the streams, and no stream is uncounted."""

from hypothesis import given
from hypothesis import strategies as st

from training.batches.shares import made_more_than_once, shares_of, streams_of


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), st.integers(1, 24))
def test_the_batch_is_cut_without_rest(pairs: int, ranks: int, more: int, wanted: int) -> None:
    batch = pairs * ranks * more
    streams = streams_of(batch, wanted)
    assert batch % streams == wanted % streams == 0
    assert streams == max(n for n in range(1, wanted + 1) if batch % n == wanted % n == 0)
    each = [shares_of(batch, streams, rank, ranks) for rank in range(ranks)]
    slots = [[(share.stream, pair) for share in shares for pair in range(share.first, share.last)] for shares in each]
    assert [slot for some in slots for slot in some] == [
        (stream, pair) for stream in range(streams) for pair in range(batch // streams)
    ]
    assert {len(some) for some in slots} == {batch // ranks}
    assert sorted(share.stream for shares in each for share in shares if share.counts) == list(range(streams))
    assert {share.pairs for shares in each for share in shares} == {batch // streams}
    whole = all(share.last - share.first == share.pairs for shares in each for share in shares)
    assert bool(made_more_than_once(batch, streams, ranks)) is not whole


def test_what_is_made_twice_is_told() -> None:
    assert "they make 4.0 pairs for each one used; a run begun with data.streams=4" in made_more_than_once(64, 1, 4)
    assert "read 2 streams of pairs, some together: they make 2.0" in made_more_than_once(12, 2, 3)
