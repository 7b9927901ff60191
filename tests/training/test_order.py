import numpy as np
import pytest

from satxlate_jax.training.input import EpochOrder, draw_symmetries


@pytest.mark.parametrize("mixed", [1, 7, 10_000])
@pytest.mark.parametrize("lengths", [[13], [5, 5, 5], [0, 3, 9, 0, 1, 4, 0], list(range(1, 13)), [1] * 8])
def test_every_epoch_has_every_record_once_in_an_order_of_its_own(lengths, mixed):
    count = sum(lengths)
    drawn = EpochOrder(lengths, mixed, 3, "G16").records(np.arange(4 * count)).reshape(4, count)
    np.testing.assert_array_equal(np.sort(drawn), [np.arange(count)] * 4)
    assert len({tuple(epoch) for epoch in drawn}) == 4


def test_any_place_may_be_the_first_and_they_may_come_in_any_order():
    order = EpochOrder([7, 2, 5], 4, 0, "G16")
    whole = order.records(np.arange(100))
    for begin in (0, 13, 14, 15, 63):
        np.testing.assert_array_equal(EpochOrder([7, 2, 5], 4, 0, "G16").records(np.arange(begin, 100)), whole[begin:])
    backward = [order.records(np.array([place]))[0] for place in reversed(range(100))]
    np.testing.assert_array_equal(backward[::-1], whole)


def test_few_shards_at_a_time_are_mixed_and_those_wholly():
    order = EpochOrder([50] * 20, 200, 0, "G16")
    windows = order.records(np.arange(2 * 1000)).reshape(10, 200) // 50
    sets = [frozenset(window) for window in windows]
    assert all(len(shards) == 4 for shards in sets)
    assert len(frozenset.union(*sets[:5])) == len(frozenset.union(*sets[5:])) == 20
    assert not set(sets[:5]) & set(sets[5:]), "other shards meet in the next epoch"
    for window in windows:  # of 50 draws a quarter is of each shard, give or take five deviations
        assert all(abs((window[:50] == shard).sum() - 12.5) < 14 for shard in set(window))


def test_seed_and_satellite_decide():
    orders = {
        tuple(EpochOrder([50, 50], 100, seed, satellite).records(np.arange(100)))
        for seed in (0, 1)
        for satellite in ("G16", "G16_2", "H8")
    }
    assert len(orders) == 6


def test_the_order_is_that_of_format_2():
    """If this fails, old runs continue otherwise than they would have: raise runs.FORMAT."""
    assert EpochOrder([4, 3, 5], 6, 0, "G16").records(np.arange(24)).tolist() == [
        *(4, 8, 6, 7, 5, 9, 11, 10, 0, 1, 3, 2),
        *(0, 5, 6, 3, 2, 4, 1, 10, 11, 7, 9, 8),
    ]
    assert draw_symmetries(0, "G16", 7, 8).tolist() == [2, 2, 4, 1, 4, 1, 5, 6]
