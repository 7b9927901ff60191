"""Images in blocks: the same as whole, with any size, and no seam."""

import numpy as np
import pytest
from scipy import ndimage

from satxlate_jax.translation.inference import RAMP, apply_in_blocks, cut_axis, run_network
from satxlate_jax.translation.load import load
from tests.random_run import save_random_run


def smooth(x, row=0, column=0):
    """A filter that sees 4 pixels to each side and takes zeros beyond the image, as the networks do."""
    return ndimage.uniform_filter(x, (0, 9, 9, 0), mode="constant").astype(np.float32)


@pytest.mark.parametrize("shape", [(200, 200), (97, 310), (60, 500), (50, 60)])
@pytest.mark.parametrize("block", [64, 100])
def test_blocks_give_what_the_whole_gives(shape, block):
    x = np.random.default_rng(0).standard_normal((1, *shape, 2)).astype(np.float32)
    np.testing.assert_allclose(apply_in_blocks(smooth, x, block, rim=4), smooth(x), atol=1e-5)


@pytest.mark.parametrize(("size", "block", "rim", "stride"), [(300, 128, 10, 1), (301, 96, 5, 1), (304, 130, 20, 4)])
def test_weights_sum_to_one_and_leave_out_the_rim(size, block, rim, stride):
    blocks, length = cut_axis(size, block, rim, stride)
    total = np.zeros(size)
    for index, (start, weights) in enumerate(blocks):
        total[start : start + length] += weights
        assert start % stride == 0 and length % stride == 0
        assert index == 0 or not weights[:rim].any()
        assert index == len(blocks) - 1 or not weights[-rim:].any()
        assert np.abs(np.diff(weights)).max() <= 2 / RAMP  # no step, so no seam
    np.testing.assert_allclose(total, 1, atol=1e-6)


def test_a_block_must_hold_more_than_its_rim():
    with pytest.raises(ValueError, match="too small"):
        cut_axis(300, 60, 20)


@pytest.mark.parametrize("n_downsample", [0, 1])
def test_a_translation_in_blocks_is_that_of_the_whole(tmp_path, n_downsample):
    bands = {"G16": (8, 9), "G17": (8, 9)}
    run = save_random_run(tmp_path / "run", bands, dim=4, n_downsample=n_downsample)
    x = np.random.default_rng(0).normal(240, 3, (150, 131, 2)).astype(np.float32)
    whole = load(run).translate(x, "G17", source="G16")
    pieces = load(run, block=110).translate(x, "G17", source="G16")
    # with downsampling the decoder's LayerNorm sees a block where it saw the image: close, not equal
    assert np.abs(pieces - whole).max() < (1e-3 if n_downsample == 0 else 0.2 * whole.std())


@pytest.mark.parametrize("n_downsample", [0, 1])
def test_a_latent_field_in_blocks_is_that_of_the_whole(tmp_path, n_downsample):
    """The encoder has no LayerNorm, so this is exact with halvings too."""
    bands = {"G16": (8, 9), "G17": (8, 9)}
    run = save_random_run(tmp_path / "run", bands, dim=4, n_downsample=n_downsample)
    x = np.random.default_rng(0).normal(240, 3, (2, 150, 132, 2)).astype(np.float32)
    whole, pieces = (load(run, block=b).translate(x, "G17", source="G16", latent=True) for b in (700, 110))
    assert whole.shape == (2, 150 // 2**n_downsample, 132 // 2**n_downsample, 4 * 2**n_downsample)
    np.testing.assert_allclose(pieces, whole, atol=1e-4)


def test_draws_in_blocks_are_those_of_the_whole(tmp_path):
    bands = {"G16": (8, 9), "G17": (8, 9)}
    run = save_random_run(tmp_path / "run", bands, dim=4)
    x = np.random.default_rng(0).normal(240, 3, (150, 60, 2)).astype(np.float32)
    whole = load(run).translate(x, "G17", source="G16", samples=3)
    pieces = load(run, block=100).translate(x, "G17", source="G16", samples=3)
    np.testing.assert_allclose(pieces, whole, atol=2e-3)


@pytest.mark.parametrize("settings", [{"n_res": 0}, {"n_res": 2}, {"n_res": 1, "n_downsample": 1}])
def test_the_field_of_view_is_as_wide_as_said(tmp_path, settings):
    """Seen with NaN, which marks every pixel that looks at it; an encoder's LayerNorm would hide it, it has none."""
    bands = {"G16": (8,), "G17": (8,)}
    translator = load(save_random_run(tmp_path / "run", bands, dim=2, **settings))
    radius = translator.radius
    x = np.zeros((1, 96, 96, 1), np.float32)
    x[0, 48, 48] = np.nan
    if settings.get("n_downsample"):
        z = np.isnan(np.asarray(translator.network.encode(translator.params, x, "G16")))[0, ..., 0]
        reach = 2 * max(24 - np.flatnonzero(z.any(1)).min(), np.flatnonzero(z.any(1)).max() - 24)
        # what the decoder adds: a residual block and a convolution at half resolution, one at full resolution
        assert reach + 2 * 2 + 2 + 1 <= radius <= reach + 2 * 2 + 2 + 1 + 6
    else:
        y = np.isnan(run_network(translator.params, translator.network, x, "G16", "G17")[0])[0, ..., 0]
        rows = np.flatnonzero(y.any(1))
        assert 48 - rows.min() == rows.max() - 48 == radius
