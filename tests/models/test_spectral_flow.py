"""The spectral flow as a map: exactly invertible, its determinant, what passes unchanged, what it must not look at."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from satxlate_jax.instruments import published_statistics
from satxlate_jax.models.flow_layers import brightness_temperature, monomials, polynomial, radiance
from satxlate_jax.models.spectral_flow import SpectralFlow
from satxlate_jax.wavelength_axis import WavelengthAxis

FLOW = {
    "width": 8,
    "blocks": 1,
    "levels": 3,
    "degree": 2,
    "ridge": 1e-3,
    "coarse": "free",
    "members": 1,
    "solar": True,
    "adapters": True,
}
ALL = tuple(range(1, 17))


def make_flow(bands, **changes):
    entries = {}
    for name, numbers in bands.items():
        mean, std = published_statistics(name, numbers)
        entries[name] = {"bands": numbers, "mean": mean.tolist(), "std": std.tolist()}
    return SpectralFlow(FLOW | changes, WavelengthAxis.of(entries), bands)


def random_params(flow, seed=0):
    """Parameters with nothing at zero, so that nothing is exact by chance."""
    random = np.random.default_rng(seed)
    params = flow.init(jax.random.key(seed))
    fresh = jax.tree.map(lambda leaf: leaf + 0.05 * random.normal(size=leaf.shape).astype(np.float32), params)
    fresh["base"] = jax.tree.map(lambda leaf: jnp.asarray(leaf), fresh["base"])
    for part in fresh["base"].values():
        part["sigma"] = jnp.abs(part["sigma"]) + 0.1
        for kind in {"thermal", "reflective", "thermal_of_all", "reflective_of_all"} & set(part):
            part[kind]["range"] = jnp.stack([jnp.full(part[kind]["range"].shape[1:], side) for side in (-3.0, 3.0)])
            part[kind]["leverage"] = jnp.asarray(1e9)
            part[kind]["air_mass"] = jnp.array([1.5, 0.3, 1.0, 3.0])
            part[kind]["weights"] = 0.1 * random.normal(size=part[kind]["weights"].shape).astype(np.float32)
            part[kind]["kernel"] = part[kind]["kernel"] + 0.3
            part[kind]["used"] = part[kind]["used"] + (kind.removesuffix("_of_all") not in part or "_" not in kind)
    for part in fresh["calibration"].values():
        part["draw"] = jnp.ones_like(part["draw"])
    return fresh


@pytest.mark.parametrize("inputs, degree", [(1, 3), (3, 1), (4, 2), (5, 3), (2, 4)])
def test_a_polynomial_is_its_monomials_times_the_weights(inputs, degree):
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 6, 5, inputs))
    made = monomials(x, degree)
    weights = random.normal(size=(made.shape[-1], 3))
    found = jax.jit(polynomial, static_argnums=2)(jnp.float32(x), jnp.float32(weights), degree)
    np.testing.assert_allclose(found, made @ weights, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(made[..., :inputs], x)
    np.testing.assert_allclose(made[..., -1], x[..., -1] ** degree)  # the last product


def image(shape, seed=1):
    """[1, h, w, band and angle]."""
    x = np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)
    x[..., -2], x[..., -1] = -0.4, 1.6  # night, where 3.9 um is not unusual
    return x


BANDS = {"G16": (7, 8, 9, 12), "G17": (8, 9)}


@pytest.mark.parametrize("shape", [(64, 64), (37, 53)])
def test_to_latent_and_back_is_exact(shape):
    flow = make_flow(BANDS)
    params, x = random_params(flow), image((*shape, 6))

    @jax.jit  # eagerly, hundreds of programs
    def there_and_back(params, x):
        return flow.from_latent(params, flow.to_latent(params, x, "G16", "G17"), "G16", "G17", x[..., -2:])

    back = np.asarray(there_and_back(params, x))
    np.testing.assert_array_equal(back[..., 1:3], x[..., 1:3])  # given
    assert np.abs(back - x[..., :4])[..., [0, 3]].max() * 6.3 < 1e-3  # K
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        x = jnp.asarray(x, jnp.float64)
        back = there_and_back(params, x)
        assert float(jnp.abs(back - x[..., :4]).max()) < 1e-9


def test_log_determinant_is_that_of_automatic_differentiation():
    flow = make_flow({"G16": (8, 9, 12), "G17": (8, 9)})
    params, x = random_params(flow), image((9, 8, 5))
    y, angles, pattern = flow.to_axis(params, x[..., :3], "G16"), x[..., -2:], (0, 1)

    def standardized(field):
        changed = y.at[..., 2].set(field.reshape(1, 9, 8))
        return flow.standardize(params, changed, angles, pattern)[0].ravel()

    jacobian = jax.jit(jax.jacobian(standardized))(y[..., 2].ravel())
    _, logarithm = np.linalg.slogdet(np.asarray(jacobian, np.float64))
    _, log_sigma = jax.jit(lambda y: flow.standardize(params, y, angles, pattern))(y)
    assert logarithm == pytest.approx(-float(log_sigma.sum()), rel=1e-4)


def test_withheld_channels_are_not_looked_at():
    flow = make_flow(BANDS)
    params, x = random_params(flow), image((32, 32, 6))
    y, angles, pattern = flow.to_axis(params, x[..., :4], "G16"), x[..., -2:], (1, 2)
    z = jax.random.normal(jax.random.key(0), (*y.shape[:-1], 2))
    hidden = y.at[..., 0].set(jnp.nan).at[..., 3].set(jnp.nan)
    synthesize = jax.jit(lambda y: flow.synthesize(params, y, z, angles, pattern, None))
    made = [synthesize(each) for each in (y, hidden)]
    np.testing.assert_array_equal(*made)
    assert np.isfinite(made[0]).all()


def test_a_new_flow_is_its_base_with_the_base_s_deviation():
    flow = make_flow(BANDS)
    params, x = random_params(flow), image((32, 32, 4))
    params["network"] = jax.tree.map(jnp.zeros_like, flow.init(jax.random.key(0))["network"])
    found = jax.jit(lambda x: flow.distribution(params, x, "G17", "G16"))(x)

    @jax.jit
    def base(x):
        filled, _ = flow.base(params, flow.to_axis(params, x[..., :2], "G17"), x[..., -2:], (1, 2))
        return flow.from_axis(params, filled, "G16")

    np.testing.assert_allclose(found.mean, base(x), atol=1e-6)
    assert (np.asarray(found.std)[..., [0, 3]] > 0).all() and not np.asarray(found.std)[..., 1:3].any()


def test_samples_scatter_as_the_distribution_says():
    flow = make_flow(BANDS)
    params, x = random_params(flow), image((32, 32, 4))
    found = jax.jit(lambda x: flow.distribution(params, x, "G17", "G16"))(x)
    draw = jax.jit(lambda key: flow.distribution(params, x, "G17", "G16", key).sample)
    draws = np.stack([draw(jax.random.key(seed)) for seed in range(300)])
    params["calibration"] = jax.tree.map(jnp.ones_like, params["calibration"])
    z = (draws.mean(0) - found.mean)[..., [0, 3]] / (np.asarray(found.std)[..., [0, 3]] / np.sqrt(300))
    assert abs(z).mean() < 1.2
    ratio = draws.std(0)[..., [0, 3]] / np.asarray(found.std)[..., [0, 3]]
    factor = np.asarray(random_params(flow)["calibration"]["given_1_2"]["std"])[0, [0, 3]]
    np.testing.assert_allclose(ratio.mean((0, 1, 2)) * factor, 1, atol=0.03)


def test_noise_belongs_to_the_place():
    flow = make_flow(BANDS)
    noise = jax.jit(flow.noise, static_argnums=1)
    whole = np.asarray(noise(jax.random.key(3), (64, 64, 2)))
    part = np.asarray(noise(jax.random.key(3), (32, 32, 2), 32, 32))
    np.testing.assert_array_equal(whole[0, 16:32, 48:64], part[0, :16, 16:32])  # one subband of the finest level


def test_bands_pass_between_instruments_of_one_kind_and_window_bands_do_not_between_kinds():
    flow = make_flow({"G16": ALL, "G17": ALL, "H8": ALL})
    assert flow.copied("G16", "G17") == [(place, place) for place in range(16)]
    passed = {ALL[ours]: ALL[theirs] for ours, theirs in flow.copied("G16", "H8")}
    assert passed == {1: 1, 2: 3, 3: 4, **{band: band for band in ALL[4:] if band not in (11, 15)}}
    kinds = {11: "adjusted", 15: "adjusted", 2: "inferred"}
    assert flow.origins("G16", "H8") == [kinds.get(band, "passed on") for band in ALL]


def test_adapters_are_inverses_of_each_other():
    flow = make_flow({"G16": ALL, "H8": ALL})
    params = random_params(flow)
    listed = dict(flow.axis.adapted)["H8"]
    kernel = np.zeros((17, 17), np.float32)
    alike = [
        channel for channel in flow.axis.given("G16", "H8") if flow.axis.thermal[channel] and channel not in listed
    ]
    kernel[np.ix_(alike, listed)] = np.random.default_rng(0).normal(size=(len(alike), len(listed)))
    params["adapters"]["H8"] = {"kernel": kernel, "bias": np.zeros(17, np.float32), "std": np.zeros(17, np.float32)}
    x = image((8, 8, 16))
    back = flow.from_axis(params, flow.to_axis(params, x, "H8"), "H8")
    np.testing.assert_allclose(back, x, atol=1e-5)


def test_sunlight_is_planck_s_law():
    temperature = np.array([220.0, 300.0, 400.0])
    assert radiance(300.0, 10.0, np.exp) == pytest.approx(9.924, rel=1e-3)  # W m-2 sr-1 um-1
    np.testing.assert_allclose(brightness_temperature(radiance(temperature, 3.9, np.exp), 3.9, np.log), temperature)


def test_choices_of_one_satellites_bands_make_no_pattern():
    """GOES-16 without band 3 and without band 5: to GOES-17 each has a pattern, to one another there is no need."""
    bands = {"G16_no3": tuple(b for b in ALL if b != 3), "G16_no5": tuple(b for b in ALL if b != 5), "G17": ALL}
    flow = make_flow(bands)
    expected = {flow.axis.given(name, "G17") for name in ("G16_no3", "G16_no5")}
    assert set(flow.patterns) == expected
    assert flow.axis.are_alternative_band_sets("G16_no3", "G16_no5")
    assert not flow.axis.are_alternative_band_sets("G16_no3", "G17")
