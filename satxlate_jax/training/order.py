"""In which order a satellite's records are drawn, as plain arithmetic: no state, so that any step can be the first.

Records are numbered through the shards of a split. Training draws them epoch after epoch: each has every record once,
in an order that depends on (seed, satellite, epoch) and the shards' lengths alone. Global batch k of B rows is places
k B to (k + 1) B - 1 of that endless sequence, so it does not depend on how many processes share it, a process needs to
read no more than its own rows, and to resume is to begin at another place. An epoch may end within a batch.

Within an epoch whole shards come one after the other, in an order drawn anew, and those that are together for a while
are mixed: so only a few files are read at a time. (The records of all shards were shuffled when the data set was
built, so that a shard is a random sample already.)
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np


class EpochOrder:
    """The endless sequence of one satellite's records.

    Args:
      lengths: records in each shard; not all 0.
      mixed: about how many records are mixed at a time; a shard is never mixed in parts.
      seed: of the run.
      satellite: satellites draw independently of each other.
    """

    def __init__(self, lengths: Sequence[int], mixed: int, seed: int, satellite: str):
        self._lengths, self._mixed = np.array(lengths), max(mixed, 1)
        self._name = f"{seed}/{satellite}"
        self._epoch = lru_cache(maxsize=2)(self._draw_epoch)

    def records(self, places: np.ndarray) -> np.ndarray:
        """The numbers of the records at some places of the sequence, int64 [place]."""
        epochs, within = np.divmod(places, self._lengths.sum())
        numbers = np.empty_like(places)
        for epoch in np.unique(epochs):
            numbers[epochs == epoch] = self._epoch(int(epoch))[within[epochs == epoch]]
        return numbers

    def _draw_epoch(self, epoch: int) -> np.ndarray:
        draws = random_numbers(f"{self._name}/epoch {epoch}", len(self._lengths) + int(self._lengths.sum()))
        shards, records = np.split(draws, [len(self._lengths)])
        shards = np.argsort(shards, kind="stable")
        begins = np.empty_like(self._lengths)
        begins[shards] = np.cumsum(self._lengths[shards]) - self._lengths[shards]
        windows = np.repeat(begins // self._mixed, self._lengths)
        return np.lexsort((records, windows))


def draw_turns(seed: int, satellite: str, step: int, batch_size: int) -> np.ndarray:
    """For each row of a global batch which of the square's eight symmetries to apply, 0 to 7."""
    return random_numbers(f"{seed}/{satellite}/turns {step}", batch_size) % 8


def random_numbers(name: str, count: int) -> np.ndarray:
    """Numbers that depend on a name alone, uint64 [count]: the same on every machine and in every version of NumPy."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    return np.random.Philox(key=key).random_raw(count)
