"""A configuration small enough to train in seconds, and the records for it; also a file for --config."""

import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PROJECT = Path(__file__).resolve().parent.parent
SATELLITES = {"G16": (2, 3, 5, 7, 13), "H8": (3, 4, 13)}
PATCH_SIZE = 16
STEPS = 50
# What the runs that tests compare have in common
WORDS = (
    f"--config.steps={STEPS}",
    "--config.checkpoint_every=7",
    "--config.validate_every=10",
    "--config.image_every=20",
)
SHARED = "SATXLATE_TESTS"  # names the folder of the session
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # to compile; slow programs
WHEN_AND_WHERE = ("year", "dayofyear", "hour", "minute", "row", "column")


def get_config(satellite: str = "") -> Any:
    """configs/default.py, shrunk; of one satellite where it is named, as in `--config=tests/tiny_run.py:G16`."""
    spec = importlib.util.spec_from_file_location("default_config", PROJECT / "configs" / "default.py")
    default = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(default)
    config = default.get_config()
    config.steps, config.log_every, config.checkpoint_every = 12, 1, 4
    config.image_every = config.histogram_every = config.validate_every = 6
    config.validation_batches = 2
    config.data.satellites = default.ordered(**{satellite: SATELLITES[satellite]} if satellite else SATELLITES)
    config.data.patch_size, config.data.shuffle_buffer = PATCH_SIZE, 64
    config.generator.dim, config.generator.n_res = 4, 1
    config.discriminator.dim = 4
    return config


def when_and_where(index: int) -> dict[str, int]:
    """The place and time of a record: all over its tile, eight days, by day and by night."""
    row, column = divmod(37 * index % 18**2, 18)
    return {
        "year": 2019,
        "dayofyear": 1 + index // 2 % 8,
        "hour": 18 * (index % 2),
        "minute": 30,
        "row": PATCH_SIZE * row,
        "column": PATCH_SIZE * column,
    }


def write_records(
    root: Path,
    train: int = 40,
    validation: int = 16,
    satellites: Mapping[str, Sequence[int]] = SATELLITES,
    shards: int = 4,
    draw: Any = None,
) -> None:
    """Prepared data sets as `tfds build` leaves them, of smooth random patches.

    Those of `draw(random) -> {band: float [PATCH_SIZE, PATCH_SIZE]}`, in standard deviations from the published mean,
    where it is given: then the bands have something to do with each other. Records are of eight days and one tile.
    """
    import tensorflow_datasets as tfds  # here, because the configuration must be readable without

    from satxlate_jax.dataset.records import quantize
    from satxlate_jax.instruments import get_satellite, published_statistics

    with tfds.core.registered.skip_registration():

        class TinyBuilder(tfds.core.GeneratorBasedBuilder):
            name = "geonex_l1g"
            VERSION = tfds.core.Version("1.0.0")
            BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=satellite) for satellite in satellites]

            def _info(self):
                bands = satellites[self.builder_config.name]
                shape = (PATCH_SIZE, PATCH_SIZE, len(bands))
                patch = tfds.features.Tensor(shape=shape, dtype=np.uint16, encoding="bytes")
                metadata = {"satellite": self.builder_config.name, "bands": list(bands), "patch_size": PATCH_SIZE}
                numbers = dict.fromkeys(WHEN_AND_WHERE, np.int32)
                features = tfds.features.FeaturesDict({"patch": patch, "tile": tfds.features.Text(), **numbers})
                return tfds.core.DatasetInfo(builder=self, features=features, metadata=tfds.core.MetadataDict(metadata))

            def _split_generators(self, dl_manager):
                return {
                    "train": self._generate_examples(0, train),
                    "validation": self._generate_examples(1, validation),
                }

            def _generate_examples(self, seed, count):
                satellite = self.builder_config.name
                channels = [get_satellite(satellite).band(number) for number in satellites[satellite]]
                mean, std = published_statistics(satellite, satellites[satellite])
                random = np.random.default_rng([seed, *satellite.encode()])
                rows, columns = np.mgrid[:PATCH_SIZE, :PATCH_SIZE] / PATCH_SIZE
                for index in range(count):
                    if draw:
                        patch = draw(random)
                        waves = [patch[band.number] for band in channels]
                    else:
                        waves = [np.sin(3 * rows * random.normal() + 5 * columns + random.normal()) for _ in channels]
                    place = when_and_where(index) | {"tile": f"h{57 if satellite[0] == 'H' else 12}v08"}
                    yield index, {"patch": quantize(mean + std * np.stack(waves, -1), channels), **place}

    for satellite in satellites:
        builder = TinyBuilder(config=satellite, data_dir=root)
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))


def once(name: str, make: Callable[[Path], Any]) -> Path:
    """A folder `name` that `make` has filled, once in all processes of a session."""
    from filelock import FileLock  # here, because the configuration must be readable without

    folder = Path(os.environ[SHARED]) / name
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            try:
                make(folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
    return folder


def records() -> Path:
    """Prepared data sets, made once."""
    return once("records", write_records)


def shared_cache() -> Path:
    """A compilation cache for all tests that do not look at what a cache does."""
    return once("cache", Path.mkdir)


def finished_run() -> Path:
    """A run of one process on one device that nobody disturbed, made once; its compilation cache is its own."""

    def make(run: Path) -> None:
        result = run_training(train_command(run, records(), *WORDS), environment(Path(f"{run}_cache")))
        assert result.returncode == 0, result.stderr

    return once("finished_run", make)


def train_command(workdir: Path, data: Path, *words: str) -> list[str]:
    """The command line that trains the tiny configuration."""
    command = [sys.executable, "-m", "satxlate_jax", "train", f"--config={__file__}", f"--workdir={workdir}"]
    return [*command, f"--config.data.dir={data}", *words]


def environment(cache: Path | None = None, devices: int = 1) -> dict[str, str]:
    """Of a training process on virtual CPU devices: as a user's, with a compilation cache of its own, or by default
    with the shared one, and QUICK."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    flags = [] if cache else [QUICK]
    if devices > 1:
        flags.append(f"--xla_force_host_platform_device_count={devices}")
    return kept | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": " ".join(flags),
        "XDG_CACHE_HOME": str(cache or shared_cache()),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


def run_training(command: Sequence[str], env: dict[str, str]) -> subprocess.CompletedProcess:
    """Runs a training process to its end."""
    return subprocess.run(command, cwd=PROJECT, env=env, capture_output=True, text=True, timeout=600)


def read_scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar of a run as the TensorBoard server reads it: tag -> (step, value) in the order of the files.

    Nothing is sampled; a step that is there twice shows twice.
    """
    from tensorboard.backend.event_processing.plugin_event_accumulator import TENSORS, EventAccumulator
    from tensorboard.util import tensor_util

    accumulator = EventAccumulator(str(run), size_guidance={TENSORS: 0}, tensor_size_guidance={"scalars": 0})
    logging.getLogger("tensorboard").setLevel(logging.ERROR)  # it tells of what it drops
    accumulator.Reload()
    return {
        tag: [(event.step, tensor_util.make_ndarray(event.tensor_proto).item()) for event in accumulator.Tensors(tag)]
        for tag in accumulator.Tags()[TENSORS]
        if accumulator.SummaryMetadata(tag).plugin_data.plugin_name == "scalars"
    }


def learned_scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalars that must be the same in every life of a run: all but how fast it was."""
    return {tag: points for tag, points in read_scalars(run).items() if not tag.startswith("speed/")}


def bytes_read() -> int:
    """By this process until now, whether from a disk or from the system's cache."""
    return int(Path("/proc/self/io").read_text().split()[1])
