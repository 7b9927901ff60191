"""How a satellite's shards share out into lanes, as plain arithmetic: no state, so that any step can be the first.

The global batch of a satellite is drawn from lanes. A lane is an endless stream of its own shards: in every epoch it
reads each of them once, in an order that depends on (seed, satellite, lane, epoch) alone, shuffling within a shard.
(The records of all shards were shuffled together when the data set was built.) Row r of the global batch comes
from lane r mod L, so the batch does not depend on how many processes share it, and a process opens only the lanes
of its rows. To begin at any position, whole epochs and whole shards are skipped by arithmetic on their lengths.
"""

import hashlib
from collections.abc import Sequence


def shards_with_records(shard_lengths: Sequence[int]) -> list[tuple[int, int]]:
    """Index and length of the shards that hold records; lane l of L has every L-th of them, beginning with the l-th."""
    return [(shard, length) for shard, length in enumerate(shard_lengths) if length > 0]


def lane_count(batch_size: int, shard_lengths: Sequence[int]) -> int:
    """L: the largest divisor of the global batch size that is at most the number of shards with records."""
    shards = max(1, len(shards_with_records(shard_lengths)))
    return max(lanes for lanes in range(1, batch_size + 1) if batch_size % lanes == 0 and lanes <= shards)


def lane_seed(seed: int, satellite: str, lane: int) -> int:
    """The seed of a lane's order, in [0, 2**62): satellites and lanes have orders of their own."""
    digest = hashlib.sha256(f"{seed}/{satellite}/{lane}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 2


def find_position(lengths: Sequence[int], position: int) -> tuple[int, int]:
    """Where a position lies in parts that are read one after the other.

    Args:
      lengths: of the parts in the order of reading, in records.
      position: in records; must lie within the parts.

    Returns:
      Index of the part that holds it, and the position within that part.
    """
    for index, length in enumerate(lengths):
        if position < length:
            return index, position
        position -= length
    raise ValueError(f"position lies {position} records beyond the last part")
