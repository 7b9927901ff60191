"""Adding a satellite to a trained model, through `train` and on its own."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from ml_collections import ConfigDict

from satxlate_jax.cli import InputError
from satxlate_jax.training.build_step import build_networks, build_train_step, freeze_rules
from satxlate_jax.training.config import load_config, validate
from satxlate_jax.training.optimizers import trainable_mask
from satxlate_jax.training.starting_state import describe_origins, inherit_parameters, new_satellites


def configuration(default_config, satellites, **fields):
    config = default_config()
    config.data.satellites = ConfigDict(satellites, sort_keys=False)
    config.data.patch_size = 8
    config.generator.dim = config.discriminator.dim = 2
    config.generator.n_res = config.discriminator.n_layer = 1
    config.update_from_flattened_dict(fields)
    validate(config)
    return config


def parameters(config, seed):
    """Random values in the networks' structure; their own initialisation would take longer to compile than the test."""
    translator, discriminator = build_networks(config)
    inits = {"generator": translator.init, "discriminator": discriminator.init}
    shapes = {part: jax.eval_shape(init, jax.random.key(0)) for part, init in inits.items()}
    numbers = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: numbers.normal(0, 0.1, leaf.shape).astype(np.float32), shapes)


OLD = {"G16": (1, 7), "H8": (1, 2, 7)}


@pytest.mark.parametrize(("new", "n_downsample"), [("H8_2", 0), ("G18", 1)])
def test_everything_known_is_kept_and_only_the_new_is_trained(default_config, new, n_downsample):
    """For any satellite and depth: after two steps what was kept is bit-identical, what is new has moved."""
    depth = {"generator.n_downsample": n_downsample}
    given = parameters(configuration(default_config, OLD, **depth), seed=1)
    rule = rf"generator/(?!(encoders|decoders)/{new}/)"
    fields = {**depth, "freeze": (rule,), "data.streams": ("H8", new)}
    config = configuration(default_config, {**OLD, new: (1, 7)}, **fields)
    fresh = parameters(config, seed=2)

    start, origins = inherit_parameters(fresh, given, [new], "RUN")
    for path, leaf in flatten_dict(start, sep="/").items():
        source = fresh if origins[path] == "fresh" else given
        for key in path.split("/"):
            source = source[key]
        assert np.array_equal(leaf, source), path
        assert (origins[path] == "fresh") == (new in path.split("/"))

    step = build_train_step(config)
    state = step.init(start["generator"], start["discriminator"])
    numbers = np.random.default_rng(0)
    batch = {
        name: numbers.standard_normal((2, 8, 8, len(config.data.satellites[name]))).astype(np.float32)
        for name in config.data.streams
    }
    take = jax.jit(step, static_argnames="cycles")
    for _ in range(2):
        state, _ = take(state, batch, jax.random.key(0), cycles=1)
    after = {"generator": state.generator, "discriminator": state.discriminator}
    now = flatten_dict(after, sep="/")
    for path, before in flatten_dict(start, sep="/").items():
        trained = f"/{new}/" in path or path.startswith("discriminator/H8/")
        assert np.array_equal(before, now[path]) != trained, path


def test_the_published_configuration_freezes_all_but_the_new_satellite(default_config):
    project = Path(__file__).resolve().parents[2]
    config = load_config([f"--config={project / 'configs' / 'add_h8_15.py'}", "--config.generator.dim=4"])
    trained = set()
    for part, tree in parameters(config, 0).items():
        mask = flatten_dict({part: trainable_mask(tree, f"{part}/", freeze_rules(config))}, sep="/")
        trained |= {re.match(r"([^/]+/){2}[^/]*", name)[0] for name, is_trained in mask.items() if is_trained}
    assert trained == {
        "generator/encoders/H8_15",
        "generator/decoders/H8_15",
        "discriminator/H8/scale_0",
        "discriminator/H8_15/scale_0",
    }


def test_a_missing_leaf_is_refused(default_config):
    config = configuration(default_config, {**OLD, "G18": (1,)})
    given = parameters(configuration(default_config, OLD), seed=1)
    del given["generator"]["decoders"]["G16"]["conv_out"]["conv"]["bias"]
    with pytest.raises(InputError, match="RUN lacks generator/decoders/G16/conv_out/conv/bias"):
        inherit_parameters(parameters(config, 2), given, ["G18"], "RUN")


def test_another_width_is_refused(default_config):
    given = parameters(configuration(default_config, OLD, **{"generator.dim": 8}), seed=1)
    with pytest.raises(InputError, match="must name a run of the same networks"):
        inherit_parameters(parameters(configuration(default_config, OLD), 2), given, [], "RUN")


def test_a_satellite_with_other_bands_is_refused(default_config):
    metadata = {"satellites": {"G16": {"bands": [1, 7]}, "H8": {"bands": [1, 2, 7]}}}
    config = configuration(default_config, {"G16": (1, 7), "H8": (1, 2, 7), "G17": (3,)})
    assert new_satellites(config, metadata, "RUN") == ["G17"]
    with pytest.raises(InputError, match=r"RUN has H8 with the bands \[1, 2, 7\]"):
        new_satellites(configuration(default_config, {"H8": (1, 2)}), metadata, "RUN")


def test_a_rule_that_is_no_regular_expression_is_refused(default_config):
    with pytest.raises(InputError, match="no regular expression"):
        build_train_step(configuration(default_config, OLD, freeze=("generator/(",)))


def test_the_log_says_what_became_of_each_part():
    origins = {"generator/encoders/G16/a": "kept", "generator/encoders/G16/b": "kept", "discriminator/G17/c": "fresh"}
    trainable = {"generator/encoders/G16/a": False, "generator/encoders/G16/b": False, "discriminator/G17/c": True}
    assert describe_origins(origins, trainable).splitlines() == [
        "  generator/encoders/G16: 2 kept, frozen",
        "  discriminator/G17: 1 fresh, trained",
    ]
