import shutil
from datetime import datetime
from itertools import islice

import numpy as np
import pytest

from configs.default import get_config, ordered
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.tile_patches import cut_patches
from satxlate_jax.instruments import normalize, published_statistics
from satxlate_jax.l1g.reader import read_tile
from satxlate_jax.training.input import data_metadata, training_batches, validation_batches
from tests.archives import build_data_set, write_archive

BANDS = {"G16": (7, 8, 13), "H8": (2, 9)}
PATCH = 60  # 25 patches a tile
TIMES = [datetime(2020, 5, day, 18) for day in (1, 2, 3)]  # one each for training, validation and testing


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    root = tmp_path_factory.mktemp("l1g")
    write_archive(root, {"G16": BANDS["G16"]}, ["h10v05", "h11v06"], TIMES)
    write_archive(root, {"H8": BANDS["H8"]}, ["h50v08"], TIMES)
    return root


@pytest.fixture(scope="module")
def data_dir(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for satellite, shards in (("G16", 5), ("H8", None)):
        build_data_set(
            archive,
            folder,
            f"{satellite}_small",
            num_shards=shards,
            satellite=satellite,
            bands=list(BANDS[satellite]),
            patch_size=PATCH,
        )
    return folder


@pytest.fixture
def config(data_dir):
    config = get_config()
    config.batch_size = 8
    config.data.dir = str(data_dir)
    config.data.satellites = ordered(**BANDS)
    config.data.datasets.update(G16="G16_small", H8="H8_small")
    config.data.patch_size = PATCH
    config.data.shuffle_buffer = 32
    return config


def identities(images):
    """Bytes that tell one patch from another."""
    return [image.tobytes() for image in images]


def patches_of(archive, satellite, split_day):
    """The patches of a day as the l1g reader and the published statistics give them, not by way of records."""
    patches = []
    for path in sorted(archive.rglob(f"*2020050{split_day}*.hdf")):
        if path.name.startswith({"G16": "GO16", "H8": "HM08"}[satellite]):
            tile = read_tile(path, bands=BANDS[satellite])
            values = np.stack([tile[f"BAND{band:02d}"].values for band in BANDS[satellite]], axis=-1)
            patches.append(normalize(cut_patches(values, PATCH), *published_statistics(satellite, BANDS[satellite])))
    return np.concatenate(patches)


def training_day(archive, config):
    seen = np.concatenate([batch["H8"] for batch in islice(training_batches(config), 10)])
    scores = [
        min(np.abs(patches_of(archive, "H8", day)[:, None] - seen[:1]).max((2, 3, 4)).ravel()) for day in (1, 2, 3)
    ]
    return int(np.argmin(scores)) + 1


def test_every_epoch_shows_every_patch_once_in_network_units(archive, config):
    day = training_day(archive, config)
    for satellite, count in (("G16", 50), ("H8", 25)):
        config.batch_size = 1  # one lane: its epochs are the data set's
        config.data.streams = (satellite,)
        expected = patches_of(archive, satellite, day)
        drawn = np.concatenate([batch[satellite] for batch in islice(training_batches(config), 2 * count)])
        assert drawn.dtype == np.float32 and len(expected) == count
        epochs = identities(drawn[:count]), identities(drawn[count:])
        assert len(set(epochs[0])) == count and set(epochs[0]) == set(epochs[1]) and epochs[0] != epochs[1]
        # the codes' half step, 0.005 K of the smallest deviation (2.6 K) and 5e-5 of 0.25, and float32
        distance = np.abs(drawn[:count, None] - expected[None]).max(axis=(2, 3, 4))
        assert (distance.min(axis=0) < 2.1e-3).all() and (distance.min(axis=1) < 2.1e-3).all()


def test_a_resumed_stream_is_the_uninterrupted_one(config):
    # An epoch is 6.25 steps for G16 and about 3 for H8; its lanes have 3 or 4 records each.
    whole = list(islice(training_batches(config), 40))
    assert whole[0]["G16"].shape == (8, PATCH, PATCH, 3) and list(whole[0]) == ["G16", "H8"]
    for start in (1, 3, 7, 25, 37):
        for expected, batch in zip(whole[start:], training_batches(config, start), strict=False):
            for satellite in expected:
                np.testing.assert_array_equal(batch[satellite], expected[satellite])


def test_seed_and_satellite_name_decide_the_order(config):
    def first(satellite, **data):
        other = config.copy_and_resolve_references()
        other.data.satellites = ordered(**{satellite: BANDS["H8"]})
        other.data.datasets[satellite] = "H8_small"
        other.seed = data.get("seed", 0)
        return identities(np.concatenate([batch[satellite] for batch in islice(training_batches(other), 4)]))

    assert first("H8") == first("H8")
    assert first("H8") != first("H8", seed=1)
    assert first("H8") != first("H8_2")  # two domains of one data set draw independently
    # and other satellites do not matter
    assert first("H8") == identities(np.concatenate([batch["H8"] for batch in islice(training_batches(config), 4)]))


def test_bands_are_taken_by_number(config):
    all_bands = next(training_batches(config))["G16"]
    config.data.satellites = ordered(G16=(13, 7))
    np.testing.assert_array_equal(next(training_batches(config))["G16"], all_bands[..., [2, 0]])


def test_validation_is_one_pass_in_order(archive, config):
    batches = list(validation_batches(config))
    assert len(batches) == 3  # 25 patches of H8 fill three batches of eight
    assert len(set(identities(np.concatenate([batch["G16"] for batch in batches])))) == 24
    again = list(validation_batches(config, process_index=1, process_count=2))
    for batch, part in zip(batches, again, strict=True):
        np.testing.assert_array_equal(part["H8"], batch["H8"][4:])
    trained = {identity for batch in islice(training_batches(config), 20) for identity in identities(batch["H8"])}
    assert not trained & {identity for batch in batches for identity in identities(batch["H8"])}


def test_data_metadata_say_what_normalises(config):
    metadata = data_metadata(config)
    mean, std = published_statistics("H8", BANDS["H8"])
    assert list(metadata) == ["G16", "H8"]
    assert metadata["H8"] == {"bands": [2, 9], "mean": mean.tolist(), "std": std.tolist()}


def change(config, name, value):
    *parents, last = name.split(".")
    for parent in parents:
        config = config[parent]
    config[last] = value


@pytest.mark.parametrize(
    "name, value, complaint",
    [
        (
            "data.dir",
            "/nowhere",
            r"/nowhere/geonex_l1g/G16_small.*tfds build datasets/geonex_l1g --config='{.*--data_dir=/now",
        ),
        ("data.datasets.H8", "H8", "no data set of H8.*tfds build .*H8_custom.*--config.data.datasets.H8=H8_custom"),
        ("data.datasets.H8", "G16_small", "G16_small/1.0.0 is of G16, training wants one of H8 there; .*datasets.H8$"),
        ("data.datasets.G16", "G16", "G16; .* take G16_small with --config.data.datasets.G16=G16_small,"),
        ("data.patch_size", 64, r"G16_small/1.0.0 has patches of 60 pixels, config.data.patch_size is 64"),
        ("data.satellites", ordered(G16=(7, 11)), r"lacks band 11 of G16, it has \[7, 8, 13\]; build .*tfds build"),
        ("batch_size", 7, "multiple of the 2 processes"),
    ],
)
def test_mistakes_are_one_clear_line(config, name, value, complaint):
    change(config, name, value)
    for batches in (training_batches, validation_batches):
        with pytest.raises(InputError, match=complaint) as raised:
            next(batches(config, process_index=0, process_count=2))
        assert "\n" not in str(raised.value)


def test_a_data_set_of_another_name_that_lacks_a_band_is_told(config):
    config.data.satellites = ordered(G16=(7, 11))
    config.data.datasets.G16 = "G16"
    with pytest.raises(InputError, match="train a configuration without band 11 of G16, as G16_small has none,"):
        next(training_batches(config))


def test_too_few_validation_examples_for_a_batch(config):
    config.batch_size = 32
    with pytest.raises(InputError, match="'validation' of H8 .* has 25 examples, fewer than config.batch_size"):
        next(validation_batches(config))


@pytest.mark.parametrize("damage", ["emptied", "shortened", "removed", "cut"])
def test_a_short_or_damaged_shard_is_an_error_that_names_satellite_and_split(config, data_dir, tmp_path, damage):
    shutil.copytree(data_dir, tmp_path / "data")
    config.data.dir = str(tmp_path / "data")
    shard = sorted((tmp_path / "data/geonex_l1g/H8_small/1.0.0").glob("*train*"))[3]
    content = shard.read_bytes()
    record = 16 + int.from_bytes(content[:8], "little")  # length, its checksum, data, its checksum
    if damage == "removed":
        shard.unlink()
    else:
        shard.write_bytes({"emptied": b"", "shortened": content[:record], "cut": content[: record + 100]}[damage])
    with pytest.raises(InputError, match="'train' of H8 in .*H8_small") as raised:
        list(islice(training_batches(config), 20))
    assert "\n" not in str(raised.value)


def test_a_split_without_examples_is_an_error(config, archive, data_dir):
    build_data_set(archive, data_dir, "one_day", satellite="H8", bands=[2, 9], patch_size=PATCH, days=122)
    config.data.datasets.H8 = "one_day"
    assert next(training_batches(config))["H8"].shape[0] == 8
    with pytest.raises(InputError, match="of H8 has no example in split 'validation'"):
        next(validation_batches(config))


def test_array_record_gives_the_same_batches(config, archive, tmp_path):
    expected = list(islice(training_batches(config), 9))
    validation = [batch["H8"] for batch in validation_batches(config)]
    options = {"satellite": "H8", "bands": list(BANDS["H8"]), "patch_size": PATCH, "file_format": "array_record"}
    folder = build_data_set(archive, tmp_path, "H8_small", **options)
    config.data.dir, config.data.streams = str(tmp_path), ("H8",)
    for start in (0, 5):
        for before, batch in zip(expected[start:], training_batches(config, start), strict=False):
            np.testing.assert_array_equal(batch["H8"], before["H8"])
    np.testing.assert_array_equal([batch["H8"] for batch in validation_batches(config)], validation)
    next(folder.glob("*train*")).write_bytes(b"")
    with pytest.raises(InputError, match="'train' of H8"):
        list(islice(training_batches(config), 9))


def symmetries(image):
    """The square's eight, by numpy."""
    return [np.rot90(flipped, turns) for flipped in (image, image[::-1]) for turns in range(4)]


def test_augmentation_turns_whole_images_and_nothing_else(config):
    plain = list(islice(training_batches(config), 12))
    config.data.augment = True
    turned = list(islice(training_batches(config), 12))
    used = set()
    for before, after in zip(plain, turned, strict=True):
        for satellite in before:
            for image, result in zip(before[satellite], after[satellite], strict=True):
                matches = [np.array_equal(result, candidate) for candidate in symmetries(image)]
                assert any(matches)
                used.add(matches.index(True))
    assert used == set(range(8))
    resumed = islice(training_batches(config, 7), 3)
    halves = [islice(training_batches(config, 7, process_index=index, process_count=2), 3) for index in range(2)]
    for expected, batch, *parts in zip(turned[7:], resumed, *halves, strict=False):
        for satellite in expected:
            np.testing.assert_array_equal(batch[satellite], expected[satellite])
            np.testing.assert_array_equal(np.concatenate([part[satellite] for part in parts]), expected[satellite])


def test_the_data_sets_own_normalisation_makes_the_training_split_standard(config):
    config.normalization = "dataset"
    config.batch_size = 1  # an epoch of H8 is 25 steps
    config.data.streams = ("H8",)
    images = np.concatenate([batch["H8"] for batch in islice(training_batches(config), 25)])
    np.testing.assert_allclose(images.mean(axis=(0, 1, 2), dtype=np.float64), 0, atol=1e-4)
    np.testing.assert_allclose(images.std(axis=(0, 1, 2), dtype=np.float64), 1, atol=1e-4)
    metadata = data_metadata(config)["H8"]
    mean, std = np.array(metadata["mean"]), np.array(metadata["std"])
    config.normalization = "published"
    published = np.concatenate([batch["H8"] for batch in islice(training_batches(config), 25)])
    published_mean, published_std = published_statistics("H8", BANDS["H8"])
    np.testing.assert_allclose(images * std + mean, published * published_std + published_mean, rtol=1e-5)


def test_statistics_that_are_missing(config, data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "data")
    config.data.dir, config.normalization = str(tmp_path / "data"), "dataset"
    config.data.satellites = ordered(G16=(7, 11))
    with pytest.raises(InputError, match="no mean and deviation of G16 band 11"):
        data_metadata(config)
    (tmp_path / "data/geonex_l1g/G16_small/1.0.0/statistics.json").unlink()
    with pytest.raises(InputError, match="no statistics.json in"):
        data_metadata(config)
