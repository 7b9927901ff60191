"""Records drawn and read, by counting: every one once per epoch, and by one process alone."""

from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from satxlate_jax.training.input import training_batches, validation_batches
from tests import tiny_run

RECORDS, BATCH = 40, 64
RECORD_BYTES = 2 * tiny_run.PATCH_SIZE**2 * (5 + 3)  # of G16 and H8 together


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Number of shards -> a data set in so many; made when it is first asked for."""
    made = {}

    def of(shards: int) -> Path:
        if shards not in made:
            made[shards] = tmp_path_factory.mktemp("records")
            tiny_run.write_records(made[shards], RECORDS, 2 * BATCH, shards=shards)
        return made[shards]

    return of


def config_of(data: Path, batch_size: int):
    config = tiny_run.get_config()
    config.data.dir, config.batch_size = str(data), batch_size
    return config


@pytest.mark.parametrize(
    ("shards", "batch_size", "mixed"), [(1, 7, 2048), (12, 1, 2048), (12, 8, 5), (1, 64, 5), (12, 64, 2048)]
)
def test_every_epoch_has_every_record_once(data, shards, batch_size, mixed):
    config = config_of(data(shards), batch_size)
    config.data.shuffle_buffer = mixed
    batches = list(islice(training_batches(config), -(-3 * RECORDS // batch_size)))
    for satellite in tiny_run.SATELLITES:
        drawn = [image.tobytes() for batch in batches for image in batch[satellite]]
        epochs = [drawn[begin : begin + RECORDS] for begin in range(0, 3 * RECORDS, RECORDS)]
        assert all(len(set(epoch)) == RECORDS for epoch in epochs), satellite
        assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
        assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


@pytest.mark.parametrize("processes", [1, 4, 64])
@pytest.mark.parametrize(("batches", "steps"), [(training_batches, 20), (validation_batches, 2)])
def test_a_process_reads_what_it_uses(data, processes, batches, steps):
    config = config_of(data(12), BATCH)
    for index in {0, processes // 2, processes - 1}:
        stream = batches(config, process_index=index, process_count=processes)
        before, used = tiny_run.bytes_read(), 0
        for batch in islice(stream, steps):
            used += sum(len(images) for images in batch.values())
        stream.close()
        assert used == 2 * steps * BATCH // processes
        ahead = 4 * BATCH // processes if batches is training_batches else 0
        lengths = 100 * 2 * RECORDS  # to find where records begin
        rest = 200  # of each record: what is not its image
        allowed = (steps * BATCH // processes + ahead) * (RECORD_BYTES + 2 * rest) + lengths
        assert tiny_run.bytes_read() - before <= allowed


@pytest.mark.parametrize("shards", [1, 12])
@pytest.mark.parametrize("batches", [training_batches, validation_batches])
def test_all_processes_together_draw_what_one_draws(data, shards, batches):
    config = config_of(data(shards), BATCH)
    alone = list(islice(batches(config), 2))
    for processes in (2, 8, 64):
        parts = [
            list(islice(batches(config, process_index=index, process_count=processes), 2)) for index in range(processes)
        ]
        for step, batch in enumerate(alone):
            for satellite, images in batch.items():
                joined = np.concatenate([part[step][satellite] for part in parts])
                np.testing.assert_array_equal(joined, images)
