"""Translation in physical units as the release does it, missing values and all, against its own numbers."""

import json

import numpy as np
import pytest

from satxlate_jax.training.assembly import build_networks
from satxlate_jax.training.released import config_from_released_yaml, to_nested
from satxlate_jax.translation.translate import translate_array

INSTRUMENT = {"G16": "ABI", "G17": "ABI", "H8": "AHI"}


def cases(name, arrays):
    """(key of the output, source, target, input) of every translation in a file of fixtures."""
    for key in arrays.files:
        kind, *rest = key.split("/")
        if kind in ("small", "nan") and rest[0] == "out":
            yield key, rest[1], rest[2], arrays[f"{kind}/in"]
        elif key == "inf/out_all_zero":
            yield key, "G16", "G17", arrays["inf/in_all_zero"]
        elif kind == "out":
            x = arrays["in"]
            yield key, rest[0], rest[1], x[..., arrays["bands1"]] if rest[0] == "G16" else x


@pytest.mark.parametrize("name", ["infer", "infer_bands"])
def test_physical_values_and_missing_ones_are_the_releases(fixtures_dir, name):
    config = config_from_released_yaml(json.loads((fixtures_dir / f"{name}.json").read_text()))
    arrays = np.load(fixtures_dir / ("infer_small.npz" if name == "infer" else f"{name}.npz"))
    published = np.load(fixtures_dir / "infer_small.npz")
    translator, _ = build_networks(config)
    state = {key.removeprefix("gen/"): arrays[key] for key in arrays.files if key.startswith("gen/")}
    params = to_nested(state, config)
    statistics = {}
    for satellite, bands in translator.bands.items():
        channels = [band - 1 for band in bands]
        suffix = INSTRUMENT[satellite]
        statistics[satellite] = {
            "mean": published[f"stats/mu_{suffix}"][channels],
            "std": published[f"stats/sd_{suffix}"][channels],
        }
    seen = 0
    for key, source, target, x in cases(name, arrays):
        ours = translate_array(params, translator, x, source, target, statistics, rule="released")
        assert ours.dtype == np.float64
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(arrays[key]), err_msg=key)
        np.testing.assert_allclose(ours, arrays[key], rtol=1e-5, atol=3e-4, err_msg=key)
        seen += 1
    assert seen >= 2
