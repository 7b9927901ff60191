import itertools
import json

import numpy as np
import pytest

from satxlate_jax.cli import InputError
from satxlate_jax.geometry import ROWS
from satxlate_jax.instruments import (
    SATELLITES,
    get_satellite,
    published_statistics,
    shared_bands,
    shared_channels,
)


def numbers(text):
    return [int(part) for part in text.split(",")]


def data_sections(fixtures_dir):
    """Every configuration of the released experiments: satellite -> its bands and shared channels, 0-based."""
    for path in sorted(fixtures_dir.glob("*.json")):
        content = json.loads(path.read_text())
        todo = [content]
        while todo:
            one = todo.pop()
            if isinstance(one, list):
                todo.extend(one)
            elif isinstance(one, dict):
                values = list(one.values())
                if values and all(isinstance(value, dict) and "bands" in value for value in values):
                    yield path.name, one
                else:
                    todo.extend(values)


def test_shared_channels_equal_the_released_configurations(fixtures_dir):
    names = set()
    for name, data in data_sections(fixtures_dir):
        try:
            bands = {satellite: [band + 1 for band in numbers(section["bands"])] for satellite, section in data.items()}
            for satellite in data:
                get_satellite(satellite)
        except InputError:
            continue  # a made-up satellite says nothing about wavelengths
        for source, section in data.items():
            assert len(bands[source]) == section["dim"]
            for target, channels in section.get("shared", {}).items():
                if target in data and source in data[target].get("shared", {}):
                    ours = shared_channels(source, bands[source], target, bands[target])
                    released = numbers(channels), numbers(data[target]["shared"][source])
                    assert ours == released, (name, source, target)
                    names.add(name)
    assert "g16g17h8.json" in names and "drop_band0_skip4.json" in names and len(names) > 5, names


def test_goes_and_himawari_share_all_but_one_band_each():
    pairs = shared_bands("G16", "H8")
    assert pairs == [(1, 1), (2, 3), (3, 4)] + [(number, number) for number in range(5, 17)]
    assert shared_bands("H8", "G16") == [(b, a) for a, b in pairs]


def test_shared_bands_are_symmetric_and_unique():
    for first, second in itertools.product(SATELLITES, SATELLITES):
        pairs = shared_bands(first, second)
        assert sorted((b, a) for a, b in pairs) == sorted(shared_bands(second, first))
        assert len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(pairs)
        counts = {"ABI": 16, "AHI": 15, "AMI": 15, "FCI": 12, "SEVIRI": 9}  # with ABI, counted by hand
        instruments = {SATELLITES[first].instrument, SATELLITES[second].instrument}
        if "ABI" in instruments:
            assert len(pairs) == counts[(instruments - {"ABI"} or {"ABI"}).pop()], (first, second)
        elif len(instruments) == 1:
            assert len(pairs) == len(SATELLITES[first].bands)


def test_satellites_say_who_they_are_as_satpy_does():
    assert get_satellite("G16").platform == {"platform_name": "GOES-16", "sensor": "abi"}
    assert get_satellite("H8_15").platform == {"platform_name": "Himawari-8", "sensor": "ahi"}
    assert len({satellite.platform_name for satellite in SATELLITES.values()}) == len(SATELLITES)


def test_instruments_are_whole_and_frozen():
    for satellite in SATELLITES.values():
        count = 12 if satellite.instrument == "SEVIRI" else 16
        assert [band.number for band in satellite.bands] == list(range(1, count + 1))
        wavelengths = [band.wavelength for band in satellite.bands][:11]  # SEVIRI's last is its broad visible band
        assert wavelengths == sorted(wavelengths)
        reflective = {"FCI": range(1, 9), "SEVIRI": (1, 2, 3, 12)}.get(satellite.instrument, range(1, 7))
        for band in satellite.bands:
            assert band.native_resolution_km in (0.5, 1.0, 2.0)
            assert (band.kind == "reflectance") == (band.number in reflective) == (band.unit == "1")
            assert band.is_borrowed == (satellite.instrument not in ("ABI", "AHI"))
            assert band.valid_range[0] < band.mean < band.valid_range[1] and band.std > 0
        with pytest.raises(AttributeError):
            satellite.bands[0].mean = 0.0
    with pytest.raises(TypeError):
        SATELLITES["G20"] = SATELLITES["G19"]


def test_the_published_test_sets_have_as_many_tiles():
    """Vandal et al. 2021: all tiles that both see, G16-G17 200 tiles, H8-G17 140."""
    for first, second, tiles in (("G16", "G17", 200), ("H8", "G17", 140), ("H9", "G18", 140)):
        both = set(SATELLITES[first].tile_columns) & set(SATELLITES[second].tile_columns)
        assert len(both) * ROWS == tiles
    assert set(SATELLITES["H8"].tile_columns) == {*range(44, 60), 0, 1, 2, 3}


def test_published_statistics():
    mean, std = published_statistics("G17", range(1, 17))
    np.testing.assert_array_equal(mean[[0, 3, 6, 15]], [0.829, 0.077, 285.251, 259.913])
    np.testing.assert_array_equal(std[[0, 3, 6, 15]], [0.292, 0.113, 6.243, 5.408])
    mean, std = published_statistics("H8_15", [2, 4, 7])
    np.testing.assert_array_equal(mean, [0.512, 0.663, 285.251])
    np.testing.assert_array_equal(std, [0.257, 0.362, 6.243])


@pytest.mark.parametrize("name", ["G15", "", "h8", "GOES16"])
def test_unknown_satellite(name):
    with pytest.raises(InputError, match="G16"):
        get_satellite(name)


def test_unknown_band():
    with pytest.raises(InputError, match="17"):
        shared_bands("G16", "H8", [1, 17])
