"""Our numbers against those of the released implementation, for every configuration in the fixtures' folder.

What is checked is decided by the configuration and by which arrays exist; see README.md in that folder for what each
array is. `SATXLATE_FIXTURES` may name another folder with files of the same form.
"""

import functools
import json
import os
import zipfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from satxlate_jax.checkpoints import check_same_leaves
from satxlate_jax.cli import InputError
from satxlate_jax.dataset.selection import patch_offsets
from satxlate_jax.dataset.tile_patches import cut_patches
from satxlate_jax.instruments import denormalize, get_satellite, normalize, published_statistics
from satxlate_jax.l1g.resampling import resample
from satxlate_jax.training.build_step import build_objective, build_train_step
from satxlate_jax.training.optimizers import learning_rate
from satxlate_jax.training.torch_reference import config_from_released_yaml, to_nested
from satxlate_jax.translation.inference import run_network

FOLDER = Path(os.environ.get("SATXLATE_FIXTURES", Path(__file__).resolve().parents[2] / "shared" / "fixtures"))
PARTS = ("", "_weights", "_io", "_small")
NAMES = sorted(path.stem for path in FOLDER.glob("*.json") if "_configs" not in path.stem)

pytestmark = pytest.mark.skipif(not NAMES, reason=f"no configurations in {FOLDER}; set SATXLATE_FIXTURES")


def channels_last(x):
    return np.moveaxis(x, 1, -1)


@functools.cache
def keys_of(name):
    """The keys of one file, without its arrays."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        return ()
    with zipfile.ZipFile(path) as file:
        return tuple(member.removesuffix(".npy") for member in file.namelist())


def names_with(prefix, *suffixes):
    """The configurations that have an array of that key, or below it, in NAME + suffix; default: those of `Case`."""
    return [
        name
        for name in NAMES
        if any(f"{key}/".startswith(f"{prefix}/") for suffix in suffixes or PARTS for key in keys_of(name + suffix))
    ]


def for_cases(names):
    """Runs a test for these configurations; those without the arrays that it wants are not among its cases."""
    return pytest.mark.parametrize("case", names, indirect=True)


def for_cycles(prefix, *suffixes):
    """Runs a test for each configuration and number of cycles C that has arrays below the prefix, which says {C}."""
    found = [(name, c) for c in (1, 2, 3) for name in names_with(prefix.format(C=c), *suffixes)]
    return pytest.mark.parametrize(("case", "cycles"), found, indirect=["case"])


def released(name):
    """The parameters of the release, from NAME.json."""
    return json.loads((FOLDER / f"{name}.json").read_text())


def additions():
    """The configurations that take steps with a satellite added: fewer send images than are there."""
    return [
        name
        for name in names_with("loss_gen", "_steps")
        if sum(key.startswith("x/") for key in keys_of(name)) < len(released(name)["data"])
    ]


@functools.lru_cache(maxsize=12)
def read_arrays(name):
    """{key: array} of one file; nothing where there is no such file."""
    path = FOLDER / f"{name}.npz"
    if not path.exists():
        return {}
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


class Arrays:
    """The arrays of one configuration, from all the files it has."""

    def __init__(self, *names):
        self._files = [read_arrays(name) for name in names]

    def __contains__(self, key):
        return any(key in file for file in self._files)

    def __getitem__(self, key):
        return next(file[key] for file in self._files if key in file)

    def below(self, prefix):
        """{rest of the key: array} of all keys that begin with prefix/, in the file's order."""
        prefix += "/"
        return {k[len(prefix) :]: self[k] for file in self._files for k in file if k.startswith(prefix)}

    def images(self, prefix):
        return {k: jnp.asarray(channels_last(v)) for k, v in self.below(prefix).items() if v.ndim == 4}


class Case:
    """One configuration: its objective, weights, inputs and expected arrays."""

    def __init__(self, name):
        self.name = name
        self.raw = released(name)
        self.config = config_from_released_yaml(self.raw)
        self.arrays = Arrays(*(name + part for part in PARTS))
        self.objective = build_objective(self.config)
        self.generator = to_nested(self.arrays.below("gen"), self.config)
        self.discriminator = to_nested(self.arrays.below("dis"), self.config)
        self.batch = self.arrays.images("x")

    @property
    def is_addition(self):
        """Only some of the satellites send images: a satellite was added to a trained model."""
        return 0 < len(self.batch) < len(self.config.data.satellites)


@functools.cache
def case_of(name):
    return Case(name)


@pytest.fixture
def case(request):
    return case_of(request.param)


def assert_close(actual, expected, tolerance, what):
    """Largest difference relative to the largest expected magnitude."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, what
    scale = np.abs(expected).max() if expected.size else 0.0
    assert np.abs(actual - expected).max(initial=0.0) <= tolerance * scale, what


@for_cases(NAMES)
def test_the_networks_have_the_released_parameters(case):
    objective = case.objective
    expected = jax.eval_shape(objective.translator.init, jax.random.key(0))
    check_same_leaves(case.name, case.generator or expected, expected)
    expected = jax.eval_shape(objective.discriminator.init, jax.random.key(0))
    check_same_leaves(case.name, case.discriminator or expected, expected)


@for_cases(names_with("x"))
def test_forward(case):
    objective, arrays = case.objective, case.arrays

    @jax.jit
    def run(generator, discriminator, batch, noise):
        silent = jax.tree.map(jnp.zeros_like, noise)
        latents, plain = objective.translate_all(generator, batch, silent)
        _, noisy = objective.translate_all(generator, batch, noise)
        real = {d: objective.discriminator.score(discriminator, x, d) for d, x in batch.items()}
        fake = {
            s: {d: objective.discriminator.score(discriminator, x, d) for d, x in images.items()}
            for s, images in noisy.items()
        }
        return {"z": latents, "dec": plain, "decn": noisy, "disreal": real, "disfake": fake}

    result = run(case.generator, case.discriminator, case.batch, arrays.images("noise_gen"))
    checked = 0
    for path, value in jax.tree_util.tree_leaves_with_path(result):
        key = jax.tree_util.keystr(path, simple=True, separator="/")
        if key in arrays:
            assert_close(value, channels_last(arrays[key]), 1e-5, key)
            checked += 1
    assert checked >= 4 * len(case.batch)


def check_terms(prefix, losses, arrays):
    """Compares terms, lists and the total below prefix; returns how many arrays there were."""
    total, parts = losses
    found = {f"{prefix}/total": total}
    found |= {f"{prefix}/{term}": value for term, value in parts["terms"].items()}
    found |= {f"{prefix}/list_{term}": np.array(values) for term, values in parts["items"].items()}
    expected = arrays.below(prefix)
    for key, value in expected.items():
        assert_close(found[f"{prefix}/{key}"], value, 1e-5, f"{prefix}/{key}")
    return len(expected)


@for_cycles("loss/c{C}/total")
def test_generator_loss(case, cycles):
    arrays = case.arrays
    loss = jax.jit(case.objective.generator_loss, static_argnames="cycles")
    losses = loss(case.generator, case.discriminator, case.batch, arrays.images("noise_gen"), cycles=cycles)
    assert check_terms(f"loss/c{cycles}", losses, arrays) >= 7


@for_cases(names_with("dloss/total"))
def test_discriminator_loss(case):
    objective = case.objective

    @jax.jit
    def run(generator, discriminator, batch, noise):
        _, fakes = objective.translate_all(generator, batch, noise)
        return objective.discriminator_loss(discriminator, batch, fakes)

    losses = run(case.generator, case.discriminator, case.batch, case.arrays.images("noise_dis"))
    assert check_terms("dloss", losses, case.arrays) >= 3


@for_cases(names_with("calc_gen_loss"))
def test_adversarial_terms_of_single_pairs(case):
    arrays, objective = case.arrays, case.objective
    from satxlate_jax.training.objective import discriminator_adversarial, generator_adversarial

    score = jax.jit(objective.discriminator.score, static_argnums=2)
    for pair, expected in arrays.below("calc_gen_loss").items():
        source, target = pair.split("/")
        fake = score(case.discriminator, arrays.images("decn")[pair], target)
        real = score(case.discriminator, case.batch[target], target)
        assert_close(generator_adversarial(fake, objective.gan_type), expected, 1e-5, f"generator {pair}")
        value = discriminator_adversarial(fake, real, objective.gan_type)
        assert_close(value, arrays[f"calc_dis_loss/{source}/{target}"], 1e-5, f"discriminator {pair}")


def gradient_errors(gradients, expected, config):
    """{parameter: largest difference relative to the largest expected magnitude}."""
    theirs, ours = dict(leaves(to_nested(expected, config))), dict(leaves(gradients))
    found = {}
    for path, value in theirs.items():
        difference = np.abs(np.asarray(ours[path], np.float64) - value).max()
        found[path] = difference / np.abs(value).max() if difference else 0.0
    return found


def check_gradients(gradient, inputs, expected, double, config):
    """The gradients in single precision, or else in double, are the release's.

    A relu's input of rounding's size falls on either side of zero by chance in float32, in the release too, and a
    gradient with it; where the release in double is there, it is the judge.
    """
    assert expected
    found = gradient_errors(gradient(*inputs), expected, config)
    if worst(found)[1] > 1e-4:
        assert double.keys() >= expected.keys(), worst(found)
        with jax.enable_x64(True):
            found = gradient_errors(gradient(*in_double(inputs)), double, config)
        assert worst(found)[1] <= 1e-6, worst(found)


def in_double(tree):
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)


def leaves(tree):
    return [
        (jax.tree_util.keystr(p, simple=True, separator="/"), v) for p, v in jax.tree_util.tree_leaves_with_path(tree)
    ]


def generator_gradient(case, cycles):
    """A function of generator, discriminator, batch and noise."""
    gradient = jax.jit(jax.grad(case.objective.generator_loss, has_aux=True), static_argnames="cycles")
    return lambda *inputs: gradient(*inputs, cycles=cycles)[0]


def inputs_of(case, noise):
    return case.generator, case.discriminator, case.batch, case.arrays.images(noise)


@for_cycles("ggrad/c{C}", "_grads")
def test_generator_gradients(case, cycles):
    expected, double = (Arrays(f"{case.name}_{kind}").below(f"ggrad/c{cycles}") for kind in ("grads", "f64"))
    check_gradients(generator_gradient(case, cycles), inputs_of(case, "noise_gen"), expected, double, case.config)


@for_cases(names_with("dgrad", "_grads"))
def test_discriminator_gradients(case):
    expected, double = (Arrays(f"{case.name}_{kind}").below("dgrad") for kind in ("grads", "f64"))
    loss_gradient = jax.jit(jax.grad(case.objective.discriminator_loss, has_aux=True))

    def gradient(generator, discriminator, batch, noise):
        _, fakes = case.objective.translate_all(generator, batch, noise)
        return loss_gradient(discriminator, batch, fakes)[0]

    check_gradients(gradient, inputs_of(case, "noise_dis"), expected, double, case.config)


def small_ones_first(names):
    return sorted(names, key=lambda name: (len(released(name)["data"]), name))


@for_cases(small_ones_first({*names_with("ggrad/c1", "_grads")} & {*names_with("ggrad/c1", "_f64")})[:1])
def test_double_precision_decides_about_gradients(case):
    """A unit that single precision puts on the wrong side of a kink is forgiven only where double knows better."""
    right, double = (Arrays(f"{case.name}_{kind}").below("ggrad/c1") for kind in ("grads", "f64"))
    name, values = next((name, values) for name, values in right.items() if values.ndim == 4)
    changes = np.zeros_like(values)
    changes.flat[3] = 2e-3 * np.abs(values).max()
    kinked, wrong = right | {name: values + changes}, double | {name: double[name] + changes}
    gradient, inputs = generator_gradient(case, 1), inputs_of(case, "noise_gen")
    check_gradients(gradient, inputs, kinked, double, case.config)
    for judge in (wrong, {}):
        with pytest.raises(AssertionError):
            check_gradients(gradient, inputs, kinked, judge, case.config)


@for_cycles("ggrad/c{C}", *(f"_grads_c{c}_summary" for c in (1, 2, 3)))
def test_gradient_summaries(case, cycles):
    """Published sizes: [sum, sum of magnitudes, root of the sum of squares] of every parameter's gradient."""
    expected = Arrays(f"{case.name}_grads_c{cycles}_summary").below(f"ggrad/c{cycles}")
    gradient = jax.jit(jax.grad(case.objective.generator_loss, has_aux=True), static_argnames="cycles")
    noise = case.arrays.images("noise_gen")
    gradients, _ = gradient(case.generator, case.discriminator, case.batch, noise, cycles=cycles)
    ours = dict(leaves(gradients))
    theirs = dict(leaves(to_nested(expected, case.config)))
    for path, (total, magnitude, root) in theirs.items():
        value = np.asarray(ours[path], np.float64)
        assert abs(np.abs(value).sum() - magnitude) <= 2e-3 * magnitude, path
        assert abs(np.sqrt((value**2).sum()) - root) <= 2e-3 * root, path
        assert abs(value.sum() - total) <= 2e-3 * magnitude, path


def steps_config(case, arrays):
    """The configuration of a run of steps; where a satellite was added, the rest of the generator is frozen."""
    config = case.config.copy_and_resolve_references()
    if case.is_addition:
        new = list(config.data.satellites)[-1]
        config.data.streams = tuple(case.batch)
        config.freeze = (rf"generator/(?!(encoders|decoders)/{new}/)",)
    rates = arrays["lr_gen"]
    if len(set(rates.tolist())) == 1:
        config.optimizer.decay_rate = 1.0  # the scheduler stayed on another optimizer
    return config


@functools.cache
def run_steps(name, dtype):
    """Takes the recorded steps; returns the states after each, their metrics and cycles."""
    case, arrays = case_of(name), Arrays(f"{name}_steps")
    config = steps_config(case, arrays)
    step = build_train_step(config)
    cast = functools.partial(jax.tree.map, lambda x: jnp.asarray(x, dtype))
    state = step.init(cast(case.generator), cast(case.discriminator))
    update = jax.jit(step.update, static_argnames="cycles")
    states, metrics, all_cycles = [], [], []
    for index in range(len(arrays["loss_gen"])):
        cycles = 1 + int(state.step) // config.objective.cycle_step
        inputs = [cast(arrays.images(f"{part}/{index}")) for part in ("x", "noise_gen", "noise_dis")]
        state, values = update(state, *inputs, cycles=cycles)
        states.append(state)
        metrics.append(values)
        all_cycles.append(cycles)
    return states, metrics, all_cycles


def differences(states, arrays, prefix, config):
    """{'after 3 steps: gen/...': largest difference} of every parameter recorded below prefix."""
    found = {}
    for index in (1, 3):
        for part in ("gen", "dis"):
            expected = arrays.below(f"{prefix}after{index}/{part}")
            state = states[index - 1] if expected else None
            ours = dict(leaves({"gen": state.generator, "dis": state.discriminator}[part])) if expected else {}
            for path, value in leaves(to_nested(expected, config)):
                found[f"after {index} steps: {part}/{path}"] = np.abs(np.asarray(ours[path], np.float64) - value).max()
    return found


def worst(found):
    return max(found.items(), key=lambda item: item[1])


@for_cases(names_with("loss_gen", "_steps"))
def test_steps(case):
    """Parameters, losses, learning rates and cycles of full steps: both updates, Adam, decay."""
    arrays, double = Arrays(f"{case.name}_steps"), Arrays(f"{case.name}_f64")
    config = steps_config(case, arrays)
    states, metrics, all_cycles = run_steps(case.name, jnp.float32)
    assert all_cycles == arrays["cycles"].tolist()
    for index, values in enumerate(metrics):
        tolerance = 1e-5 if index == 0 else 1e-4
        assert_close(values["generator/total"], arrays["loss_gen"][index], tolerance, "loss_gen")
        assert_close(values["discriminator/total"], arrays["loss_dis"][index], tolerance, "loss_dis")
        assert_close(values["learning_rate"], arrays["lr_gen"][index], 1e-6, "lr_gen")
        constant = learning_rate(config.optimizer, jnp.asarray(index), decays=False)
        assert_close(constant, arrays["lr_dis"][index], 1e-6, "lr_dis")
    found = differences(states, arrays, "", case.config)
    if worst(found)[1] > 2e-6:
        # Adam's first steps follow the gradient's sign, so where a relu's input or a gradient is of rounding's size,
        # float32 decides by chance, in the release too; the release in double, which has to be there, is the judge.
        assert double.below("steps/after1/gen"), worst(found)
        with jax.enable_x64(True):
            states, _, _ = run_steps(case.name, jnp.float64)
        found = differences(states, double, "steps/", case.config)
    assert worst(found)[1] <= 2e-6, worst(found)


@for_cases(additions())
def test_frozen_parameters_stay_bit_identical(case):
    assert case.is_addition
    states, _, _ = run_steps(case.name, jnp.float32)
    new = list(case.config.data.satellites)[-1]
    after = dict(leaves(states[-1].generator))
    for path, value in leaves(case.generator):
        same = np.array_equal(value, np.asarray(after[path]))
        assert same == (f"/{new}/" not in f"/{path}"), path


OUTPUTS = ("out", "small/out", "nan/out", "inf/out_all_zero")


def translations(case):
    """(key of the output, source, target, image [h, w, 16 bands]) of every translation recorded."""
    first, second = (list(case.config.data.satellites) * 2)[:2]
    for name, inputs in (("small", "small/in"), ("nan", "nan/in"), ("", "in")):
        for pair in case.arrays.below(f"{name}/out" if name else "out"):
            yield f"{name}/out/{pair}".lstrip("/"), *pair.split("/"), case.arrays[inputs]
    if "inf/in_all_zero" in case.arrays:
        yield "inf/out_all_zero", first, second, case.arrays["inf/in_all_zero"]


def translate_as_released(params, translator, x, source, target):
    """Physical units; NaN spreads through the network, and temperatures below 180 K or above 350 K become NaN."""
    ours, theirs = (published_statistics(name, translator.bands[name]) for name in (source, target))
    y, _ = run_network(params, translator, normalize(x[None], *ours), source, target)
    values = denormalize(y[0], *theirs)
    bands = [get_satellite(target).band(number) for number in translator.bands[target]]
    thermal = np.array([band.kind == "brightness_temperature" for band in bands])
    return np.where(thermal & ((values < 180.0) | (values > 350.0)), np.nan, values)


@for_cases([name for name in NAMES if any(name in names_with(key) for key in OUTPUTS)])
def test_translation_in_physical_units(case):
    """Values to 1e-5, and missing values exactly where the release has them."""
    expected = list(translations(case))
    assert expected
    translator = case.objective.translator
    for key, source, target, image in expected:
        x = image[..., [number - 1 for number in translator.bands[source]]]
        ours = translate_as_released(case.generator, translator, x, source, target)
        theirs = case.arrays[key]
        assert ours.dtype == np.float64
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs), err_msg=key)
        # 1e-5 of a kelvin's or a reflectance's usual size, the deviation of the band
        scale = np.abs(theirs[np.isfinite(theirs)]).max() if np.isfinite(theirs).any() else 1.0
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6 * scale, err_msg=key)


@for_cases(names_with("small/z"))
def test_encodings_in_translation(case):
    latents = case.arrays.below("small/z")
    translator = case.objective.translator
    for source, expected in latents.items():
        bands = translator.bands[source]
        x = normalize(case.arrays["small/in"][..., [b - 1 for b in bands]], *published_statistics(source, bands))
        z = translator.encode(case.generator, x[None], source)[0]
        assert_close(np.moveaxis(np.asarray(z), -1, 0), expected, 1e-5, f"small/z/{source}")


@for_cases(names_with("stats/mu_ABI"))
def test_published_statistics(case):
    for satellite in ("G16", "H8"):
        mean, std = published_statistics(satellite, range(1, 17))
        instrument = get_satellite(satellite).instrument
        np.testing.assert_array_equal(mean, case.arrays[f"stats/mu_{instrument}"])
        np.testing.assert_array_equal(std, case.arrays[f"stats/sd_{instrument}"])


@pytest.mark.skipif(not keys_of("patches"), reason="no patches.npz")
def test_patches():
    """Offsets and values, up to what the release refuses too: a patch larger than the tile."""
    arrays = Arrays("patches")
    for key, offsets in arrays.below("offsets").items():
        size, patch = map(int, key.split("_"))
        if size < patch:
            with pytest.raises(InputError):
                patch_offsets(size, size, patch)
        else:
            np.testing.assert_array_equal(patch_offsets(size, size, patch), offsets, err_msg=key)
    for key, values in arrays.below("vals").items():
        if key.endswith("/in"):
            patch = int(key.removesuffix("/in").split("_")[1])
            np.testing.assert_array_equal(cut_patches(values, patch), arrays[f"vals/{key[:-2]}out"], err_msg=key)
    np.testing.assert_array_equal(patch_offsets(300, 300, 64), arrays["reader/offsets"])


@pytest.mark.skipif(not keys_of("patches"), reason="no patches.npz")
def test_kept_patches():
    """The release drops a patch for a missing value and for an exact zero; we only for the first."""
    arrays = Arrays("patches")
    tile = np.ones((300, 300, 16), np.float32)
    tile[tuple(arrays["reader/nan_index"].T)] = np.nan
    zeros = arrays["reader/zero_index"]
    tile[tuple(zeros.T)] = 0.0
    patches = cut_patches(tile, 64)
    finite = np.isfinite(patches).all((1, 2, 3))
    without_zero = (patches != 0).all((1, 2, 3))
    np.testing.assert_array_equal(np.flatnonzero(finite & without_zero), arrays["reader/kept_patch_index"])
    assert finite.sum() > (finite & without_zero).sum()


@pytest.mark.skipif(not keys_of("l1g_zoom"), reason="no l1g_zoom.npz")
def test_resampling():
    """Corner-aligned bilinear to 300 pixels; from 600 the release leaves the last row and column zero, we do not."""
    arrays = Arrays("l1g_zoom")
    names = {1: "raw600", 2: "raw1200", 3: "raw300", 4: "raw600_uint16_fill", 8: "raw600"}
    for index, number in enumerate(arrays["bands"].tolist()):
        if number not in names:
            continue  # its int16 fill of -32768 is data to the release and missing to us
        raw = arrays[names[number]]
        numbers = resample(raw, raw.astype(np.int64) == 32768, 300, "bilinear")
        ours = numbers * arrays["scale"][index] + arrays["offset"][index]
        inner = slice(0, -1 if len(raw) == 600 else None)
        theirs = arrays["out"][inner, inner, index]
        np.testing.assert_allclose(ours[inner, inner], theirs, rtol=1e-5, atol=1e-7, err_msg=f"band {number}")
        corner = raw[-1, -1] * arrays["scale"][index] + arrays["offset"][index]
        assert ours[-1, -1] == pytest.approx(corner, rel=1e-6)
