"""A process that loads many runs: compiled once for each structure and size, and old programs go."""

import gc
import weakref

import jax
import numpy as np
import pytest

from satxlate_jax.translation import inference
from satxlate_jax.translation.load import load
from tests.random_run import save_random_run
from tests.translation.test_translate import make_tile

BANDS = {"G16": (8, 9, 16), "G17": (8, 9)}
COMPILED = []


@pytest.fixture(scope="module", autouse=True)
def _listener():
    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            COMPILED.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield
    jax.monitoring.unregister_event_duration_listener(listen)


def use(run, size=(20, 24)):
    """All that a loaded run does: a translation, draws, a latent field."""
    translator = load(run)
    tile = make_tile(size, bands=(8, 9))
    outputs = translator.translate(tile, "G16"), translator.translate(tile, "G16", samples=2, latent=True)
    return translator, outputs[0]["BAND16"].values


def test_twenty_runs_of_one_structure_compile_once(tmp_path):
    use(save_random_run(tmp_path / "first", BANDS, dim=4))
    before, seen = len(COMPILED), []
    assert before
    for seed in range(1, 20):
        translator, values = use(save_random_run(tmp_path / str(seed), BANDS, dim=4, seed=seed))
        assert not any(np.allclose(values, other) for other in seen), "each has its own parameters"
        seen.append(values)
    assert len(COMPILED) == before
    use(tmp_path / "first", size=(24, 20))
    assert before < len(COMPILED), "another size is another program"
    before = len(COMPILED)
    use(save_random_run(tmp_path / "other", BANDS, dim=4, activation="relu"))
    assert before < len(COMPILED), "another network of the same shapes is another program"


def test_what_a_loaded_run_held_is_free_when_it_is_dropped(tmp_path):
    translator, _ = use(save_random_run(tmp_path / "run", BANDS, dim=4))
    held = [weakref.ref(thing) for thing in (translator, translator.network, *jax.tree.leaves(translator.params))]
    del translator
    gc.collect()
    assert [reference for reference in held if reference() is not None] == []


def test_programs_are_kept_up_to_a_number(tmp_path):
    run = save_random_run(tmp_path / "run", {"G16": (8,), "G17": (8,)}, dim=1, n_res=0)
    translator = load(run)

    def translate(size):
        return translator.translate(np.full((size, size, 1), 250, np.float32), "G16", source="G17")

    translate(8)
    for size in range(9, 9 + inference.PROGRAMS):
        translate(size)
    gc.collect()
    full = len(jax.devices()[0].client.live_executables())
    for size in range(100, 110):
        translate(size)
    gc.collect()
    assert len(jax.devices()[0].client.live_executables()) <= full
    before = len(COMPILED)
    translate(109)
    assert len(COMPILED) == before
    translate(8)
    assert len(COMPILED) > before, "the one used longest ago made room"
