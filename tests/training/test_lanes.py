import pytest

from satxlate_jax.training.lanes import find_position, lane_count, lane_seed, shards_with_records


def test_as_many_lanes_as_divide_the_batch_and_have_shards():
    assert lane_count(8, [5] * 8) == 8
    assert lane_count(8, [5] * 7) == 4
    assert lane_count(8, [5]) == 1
    assert lane_count(12, [5, 0, 5, 5, 0, 5, 5]) == 4
    assert lane_count(1, [5] * 100) == 1


def test_shards_without_records_are_passed_over():
    assert shards_with_records([3, 0, 4, 1, 0]) == [(0, 3), (2, 4), (3, 1)]


def test_a_position_is_found_in_parts():
    lengths = [3, 1, 4]
    places = [find_position(lengths, position) for position in range(8)]
    assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2), (2, 3)]
    with pytest.raises(ValueError, match="beyond"):
        find_position(lengths, 8)


def test_seeds_differ_and_fit_into_tensorflow():
    seeds = {lane_seed(seed, name, lane) for seed in (0, 1) for name in ("G16", "G17") for lane in range(8)}
    assert len(seeds) == 32 and all(0 <= seed < 2**62 for seed in seeds)
