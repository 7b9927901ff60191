"""Whether a checkpoint may be continued by a command: with its configuration, on its data, in its format."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

from satxlate_jax.cli import InputError
from satxlate_jax.training.fields import ignored_fields

FORMAT = 2
"""Within a format a continued run ends bit by bit as one that nobody interrupted.

1 drew records from lanes of shards; 2 draws every record once per epoch.
"""

# What may differ between a checkpoint and the command that continues from it: nothing that changes what a step does.
MAY_CHANGE = {
    "steps",
    "log_every",
    "image_every",
    "histogram_every",
    "validate_every",
    "validation_batches",
    "checkpoint_every",
    "keep_last",
    "keep_every",
    "data.dir",
    "abreast",  # this and the next change the order of sums, as the number of devices does, and nothing else
    "remat",
    "optimizer.ema_decay",  # training never looks at the average
}
# Fields that the oldest checkpoints do not have -> the value with which a step does what it did before there was one.
NEUTRAL: dict[str, Any] = {
    "generator.spectral_hidden": 0,
    "generator.spectral_path": "none",
    "objective.pairs_per_step": 0,
    "objective.recon_measured_w": 0.0,
    "optimizer.clip_norm": 0.0,
}
_ORDERED = {"data.satellites"}  # sections in which the order of the keys matters
_DATA_SETS = "data.datasets."


def check_continues(
    facts: Mapping[str, Any], stored: Mapping[str, Any], where: epath.Path, allow_other_data: bool = False
) -> list[str]:
    """A checkpoint may only be continued by the configuration that made it, on the data that it was trained on.

    Args:
      facts: of the run as it is started now.
      stored: the checkpoint's.
      where: the checkpoint.
      allow_other_data: other data are no obstacle.

    Returns:
      What the user should know: of another format, of data that the checkpoint does not tell of.

    Raises:
      InputError: naming what differs, with both values.
    """
    if stored["format"] > FORMAT:
        raise InputError(
            f"{where} has format {stored['format']}, this version knows {FORMAT}; continue with the version that wrote "
            f"it ({stored['versions'].get('satxlate-jax', 'a newer one')})"
        )
    changes = list(_changes(facts, stored, allow_other_data))
    if changes:
        raise InputError(
            f"{where} was trained with another configuration: {'; '.join(changes)}. "
            "Undo that, or choose another --workdir"
        )
    notes = []
    if stored["format"] < FORMAT:
        notes.append(
            f"note: the checkpoint has format {stored['format']}; from here on records come in the order of format "
            f"{FORMAT}, every one once per epoch, so the run goes on otherwise than it would have before"
        )
    if "data" not in facts:
        return notes
    if "data" not in stored:
        return [*notes, "warning: the checkpoint does not tell what data it was trained on; from now on they are noted"]
    differences = list(_differences(facts["data"], stored["data"]))
    if differences and not allow_other_data:
        raise InputError(
            f"{where} was trained on other data: {'; '.join(differences)}. Give config.data.dir the data of before, "
            "choose another --workdir, or continue on these with --allow_other_data"
        )
    return notes + [f"note: continuing on other data: {'; '.join(differences)}" for _ in differences[:1]]


def _changes(facts: Mapping[str, Any], stored: Mapping[str, Any], allow_other_data: bool) -> Iterator[str]:
    """What differs of the configuration, and of what makes bands comparable."""
    ours, theirs = _flat(facts["config"]), _flat(stored["config"])
    free = MAY_CHANGE | ignored_fields(facts["config"])  # older versions took any value of a field that is ignored
    for field, value in theirs.items():
        may_change = field in free or allow_other_data and field.startswith(_DATA_SETS)
        if not may_change and ours.get(field) != value:
            yield f"config.{field} was {value}, is {ours.get(field, 'absent')}"
    for field in (name for name in NEUTRAL if name not in theirs):
        if field in ours and json.loads(ours[field]) != NEUTRAL[field]:
            yield f"config.{field} was not known, which is as {json.dumps(NEUTRAL[field])}, is {ours[field]}"
    for satellite, entry in stored["satellites"].items():
        now = facts["satellites"].get(satellite, entry)
        yield from (f"the {key} of {satellite}" for key in ("mean", "std") if now[key] != entry[key])


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    """What differs of the data, as far as both say it: a copy may have left a manifest behind."""
    for satellite in (name for name in theirs if name in ours):  # in this order in every process
        now = ours[satellite]
        for name, value in theirs[satellite].items():
            if now.get(name, value) != value:
                yield f"{name} of {satellite} was {value}, is {now[name]}"


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Dotted name -> value as JSON; sections whose order matters count as one value."""
    flat: dict[str, str] = {}
    for name, value in section.items():
        if isinstance(value, Mapping) and prefix + name not in _ORDERED:
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = json.dumps(value)
    return flat
