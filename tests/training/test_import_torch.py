"""Files of the PyTorch release, written here by PyTorch itself from the fixtures' weights."""

import json
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from satxlate_jax.__main__ import main
from satxlate_jax.checkpoints import Checkpoints
from satxlate_jax.training.build_step import build_train_step
from satxlate_jax.training.config import load_config
from satxlate_jax.training.step import TrainState
from satxlate_jax.training.torch_reference import config_from_released_yaml, to_nested
from satxlate_jax.translation.load import load

torch = pytest.importorskip("torch", reason="PyTorch is optional: pip install 'satxlate-jax[torch]'")

NAME = "g16g17_pubopt"  # the release's float32 and float64 agree there for three steps


@pytest.fixture(scope="module")
def released(fixtures_dir):
    with np.load(fixtures_dir / f"{NAME}.npz") as file:
        arrays = dict(file)
    with np.load(fixtures_dir / f"{NAME}_steps.npz") as file:
        steps = dict(file)
    raw = json.loads((fixtures_dir / f"{NAME}.json").read_text())
    return arrays, steps, raw


def below(arrays, prefix):
    return {key[len(prefix) + 1 :]: arrays[key] for key in arrays if key.startswith(prefix + "/")}


def images(arrays, prefix):
    return {name: jnp.asarray(np.moveaxis(x, 1, -1)) for name, x in below(arrays, prefix).items()}


def to_released(tree, names, config):
    """Our nested dict as the release's flat one: the inverse of to_nested, found by following each name."""
    from satxlate_jax.training.torch_reference import parameter_path

    flat = {}
    for name in names:
        value = tree
        for key in parameter_path(name, config):
            value = value[key]
        value = np.asarray(value)
        flat[name] = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
    return flat


def adam_after_one_step(state, gradients, raw):
    """PyTorch's own Adam, one step with our gradients."""
    params = {name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in state.items()}
    for name, param in params.items():
        param.grad = torch.from_numpy(np.array(gradients[name], order="C"))
    betas = (raw["beta1"], raw["beta2"])
    optimizer = torch.optim.Adam(params.values(), lr=raw["lr"], betas=betas, weight_decay=raw["weight_decay"])
    optimizer.step()
    return {name: param.detach() for name, param in params.items()}, optimizer


@pytest.fixture(scope="module")
def released_file(released, tmp_path_factory):
    """A checkpoint after one step, as the release writes it, and the YAML beside it."""
    arrays, steps, raw = released
    config = config_from_released_yaml(raw)
    objective = build_train_step(config).objective
    gen, dis = below(arrays, "gen"), below(arrays, "dis")
    batch, noise = images(steps, "x/0"), images(steps, "noise_gen/0")
    gradient = jax.jit(jax.grad(objective.generator_loss, has_aux=True), static_argnums=4)
    gradients, _ = gradient(to_nested(gen, config), to_nested(dis, config), batch, noise, 1)
    gen_after, gen_adam = adam_after_one_step(gen, to_released(gradients, gen, config), raw)
    generator = to_nested({name: value.numpy() for name, value in gen_after.items()}, config)
    _, fakes = objective.translate_all(generator, batch, images(steps, "noise_dis/0"))
    gradients, _ = jax.jit(jax.grad(objective.discriminator_loss, has_aux=True))(to_nested(dis, config), batch, fakes)
    dis_after, dis_adam = adam_after_one_step(dis, to_released(gradients, dis, config), raw)
    folder = tmp_path_factory.mktemp("released")
    content = {
        "global_step": 1,
        "gen_state": gen_after,
        "dis_state": dis_after,
        "optimizer_gen": gen_adam.state_dict(),
        "optimizer_dis": dis_adam.state_dict(),
        "scheduler": torch.optim.lr_scheduler.StepLR(gen_adam, raw["step_size"], raw["gamma"]).state_dict(),
    }
    torch.save(content, folder / "checkpoint.pth.tar")
    (folder / "config.yaml").write_text(json.dumps(raw))
    return folder


@pytest.fixture(scope="module")
def run(released_file):
    """The imported run."""
    file, config, output = (released_file / name for name in ("checkpoint.pth.tar", "config.yaml", "run"))
    assert main(["import-torch", str(file), "--config", str(config), "--output", str(output)]) == 0
    return output


def test_the_file_holds_what_the_release_had_after_one_step(released, released_file):
    """PyTorch's Adam on our gradients gives the fixture's parameters: the file is a true one."""
    _, steps, _ = released
    content = torch.load(released_file / "checkpoint.pth.tar", weights_only=True)
    for part in ("gen", "dis"):
        for name, value in content[f"{part}_state"].items():
            np.testing.assert_allclose(value.numpy(), steps[f"after1/{part}/{name}"], atol=2e-6, rtol=0, err_msg=name)


def test_training_goes_on_as_the_release_did(released, run):
    """From the imported state two more steps lead to the fixture's parameters after three: the moments came along."""
    _, steps, raw = released
    config = config_from_released_yaml(raw)
    step = build_train_step(config)
    checkpoints = Checkpoints(run / "checkpoints")
    assert checkpoints.latest_step() == 1
    state = TrainState(step=jnp.asarray(1), **jax.tree.map(jnp.asarray, checkpoints.restore()))
    update = jax.jit(step.update, static_argnames="cycles")
    for index in (1, 2):
        inputs = [images(steps, f"{part}/{index}") for part in ("x", "noise_gen", "noise_dis")]
        state, metrics = update(state, *inputs, cycles=1)
        np.testing.assert_allclose(metrics["learning_rate"], steps["lr_gen"][index], rtol=1e-6)
    for part, params in (("gen", state.generator), ("dis", state.discriminator)):
        expected = to_nested(below(steps, f"after3/{part}"), config)
        for path, value in jax.tree_util.tree_leaves_with_path(expected):
            ours = params
            for key in path:
                ours = ours[key.key]
            np.testing.assert_allclose(ours, value, atol=2e-6, rtol=0, err_msg=jax.tree_util.keystr(path))


def test_the_run_translates(run):
    translator = load(run)
    assert translator.satellites == ("G16", "G17")
    assert translator.metadata["config"]["objective"]["variant"] == "released"


def test_the_configuration_to_continue_with_is_the_runs(released_file, run):
    """configs/released.py:YAML gives what the checkpoint recorded, so `train` accepts it."""
    from satxlate_jax.training.starting_state import check_continues, run_metadata

    project = Path(__file__).resolve().parents[2]
    config = load_config([f"--config={project / 'configs' / 'released.py'}:{released_file / 'config.yaml'}"])
    check_continues(run_metadata(config), Checkpoints(run / "checkpoints").metadata(), run)


def import_with(folder, capsys, checkpoint="checkpoint.pth.tar", config="config.yaml", output="other"):
    words = [str(folder / checkpoint), "--config", str(folder / config), "--output", str(folder / output)]
    code = main(["import-torch", *words])
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return code, error


def changed(folder, name, change):
    content = torch.load(folder / "checkpoint.pth.tar", weights_only=True)
    change(content)
    torch.save(content, folder / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("gen_state"), "has no 'gen_state'"),
        (lambda c: c["gen_state"].pop("encoders.G16.model.0.conv.bias"), "lacks encoders/G16/conv_in"),
        (lambda c: c["gen_state"].update(extra=torch.zeros(1)), "a parameter 'extra'"),
        (
            lambda c: c["gen_state"].update({"encoders.G16.model.0.conv.bias": torch.zeros(3)}),
            r"conv/bias is float32\[3\]",
        ),
        (lambda c: c["optimizer_gen"]["param_groups"][0]["params"].pop(), "cannot tell which is which"),
    ],
)
def test_a_file_that_does_not_fit(released_file, capsys, change, message):
    changed(released_file, "broken.pth.tar", change)
    code, error = import_with(released_file, capsys, checkpoint="broken.pth.tar")
    assert code == 2
    assert re.search(message, error), error
    assert not (released_file / "other").exists()


class Bomb:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_file_with_code_is_refused_unrun(released_file, capsys):
    torch.save({"global_step": Bomb()}, released_file / "bomb.pth.tar")
    code, error = import_with(released_file, capsys, checkpoint="bomb.pth.tar")
    assert code == 2
    assert "no PyTorch checkpoint of weights" in error
    assert "executed" not in capsys.readouterr().out


def test_files_that_are_not_there_or_not_one(released_file, capsys):
    assert import_with(released_file, capsys, checkpoint="none.pth.tar")[0] == 2
    assert import_with(released_file, capsys, checkpoint="config.yaml")[0] == 2
    assert import_with(released_file, capsys, config="none.yaml")[0] == 2


def test_a_run_is_not_overwritten(released_file, run, capsys):
    code, error = import_with(released_file, capsys, output="run")
    assert code == 2
    assert "is a run already" in error
