"""Load a run's generator, of whichever family."""

from importlib.resources import files
from pathlib import Path

import jax

from satxlate_jax.checkpoints import Archive, Checkpoints
from satxlate_jax.cli import InputError
from satxlate_jax.models.families import make_translator
from satxlate_jax.translation.flow_translator import FlowTranslator
from satxlate_jax.translation.translate import TileTranslator

PRETRAINED, SHIPPED = "pretrained:", Path(str(files("satxlate_jax"))) / "pretrained"
"""What names of runs that come with the package begin with, and where these are: NAME.npz, its card NAME.md."""


def open_run(run: str | Path) -> tuple[Checkpoints | Archive, str]:
    """The checkpoints of a run, and its name; InputError where there is no such run."""
    if str(run).startswith(PRETRAINED):
        path = SHIPPED / f"{str(run).removeprefix(PRETRAINED)}.npz"
        shipped = {each.name: each for each in SHIPPED.glob("*.npz")}
        if path.name not in shipped:
            names = ", ".join(f"{PRETRAINED}{Path(name).stem}" for name in sorted(shipped))
            raise InputError(f"there is no run '{run}'; the package has {names}")
        return Archive(shipped[path.name]), path.stem
    folder = Path(run)
    if not (folder / "checkpoints").is_dir():
        fault = "is not a run: it has no folder 'checkpoints'" if folder.is_dir() else "does not exist"
        raise InputError(f"'{run}' {fault}; give the --workdir of a training run")
    return Checkpoints(folder / "checkpoints"), folder.resolve().name


def load(run: str | Path, step: int | None = None, *, block: int | None = None) -> TileTranslator:
    """Load a run's generator, ready to translate; nothing but the run is needed.

    Where the checkpoint holds a moving average of the generator (config.optimizer.ema_decay), that is what translates.

    Args:
      run: a run's folder (it holds checkpoints/), or one that comes with the package, such as 'pretrained:goes_thermal'
        (`satxlate runs` lists them).
      step: which checkpoint; default the newest.
      block: largest side of an image computed at once, pixels; default the family's.

    Raises:
      InputError: there is no checkpoint, or its parameters are not those of the network that its metadata describe.
    """
    checkpoints, name = open_run(run)
    try:
        metadata = checkpoints.metadata(step)
        part = "generator_average" if "generator_average" in checkpoints.parts(step) else "generator"
        try:
            network = make_translator(metadata["config"], metadata["satellites"])
            expected = jax.eval_shape(network.init, jax.random.key(0))
        except (KeyError, TypeError) as error:
            raise InputError(f"'{run}' describes no network ({error}); another version wrote it; retrain") from error
        params = checkpoints.restore(step, like=expected, only=part)
    finally:
        checkpoints.close()
    kind = FlowTranslator if network.is_calibrated else TileTranslator
    return kind(params, metadata, name, block)
