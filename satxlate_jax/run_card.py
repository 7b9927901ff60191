"""The card of a run: what it is, line by line, for `satxlate info` and for TensorBoard."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np

from satxlate_jax.instruments import get_satellite
from satxlate_jax.wavelength_axis import ORIGINS

ROUNDING = 1e-5  # K or reflectance: of a band that passes to another instrument and back
_CALIBRATED = """standard deviations are fitted after the last step to errors on what was left out: blocks of days
  (of tiles, where there are fewer than four days), each predicted without it, and the validation split;
  they do not hold for other views and seasons, nor where `extrapolated_bands` has a band's bit"""
_PENDING = "none yet: standard deviations are fitted after the last step; finish the run"
_NONE = "none: the spread of an ensemble's members (--samples) is no error bar"


def data_splits(metadata: Mapping[str, Any]) -> dict[str, list[str]]:
    """The days or tiles that a run was trained on, and others that it was validated on; {} where not all are known."""
    splits = metadata.get("splits", {}).values()
    if not splits or metadata["config"].get("init_from") or not all(split.get("train") for split in splits):
        return {}
    train, validation = ({*chain(*(split.get(name, ()) for split in splits))} for name in ("train", "validation"))
    return {"train": sorted(train), "validation": sorted(validation - train)}


def of_band(satellite: str, number: int) -> str:
    """A band's number and wavelength."""
    return f"{number} ({get_satellite(satellite).band(number).wavelength:g} um)"


def describe_run(
    name: str,
    metadata: Mapping[str, Any],
    network: Any,
    params: Mapping[str, Any],
    scores: Mapping[str, float],
    written: str = "",
) -> list[str]:
    """What a run is, line by line.

    The metadata are those of its checkpoint with the 'step', the params the generator's, the scores its last scalars in
    TensorBoard by tag, of which those that are no RMSE do not count; `written` is the time of its checkpoint.
    """
    config, size = metadata["config"], sum(np.size(leaf) for leaf in _leaves(params))
    family = config["generator"].get("family", "vae_gan").replace("_", " ")
    lines = [f"{name}: {family}, step {metadata['step']} of {config['steps']}, {size:,} parameters", "satellites"]
    for satellite, numbers in network.bands.items():
        bands = ", ".join(of_band(satellite, number) for number in numbers)
        lines.append(f"  {satellite}, {get_satellite(satellite).instrument}: bands {bands}")
    lines.append("translations")
    pairs = [(a, b) for a in network.bands for b in network.bands if a != b]
    lines += [f"  {a} to {b}: {_origins(network, a, b)}" for a, b in pairs]
    lines += ["data", *_describe_data(metadata)]
    lines += ["training", *_describe_training(metadata, written)]
    lines += ["RMSE on the validation split at its last scoring", *_describe_scores(scores)]
    return [*lines, "calibration", f"  {_calibration(network, params)}"]


def _leaves(tree: Any) -> Iterator[Any]:
    for part in tree.values():
        yield from _leaves(part) if isinstance(part, Mapping) else [part]


def _origins(network: Any, source: str, target: str) -> str:
    kinds: dict[str, list[str]] = {origin: [] for origin in ORIGINS}
    for number, origin in zip(network.bands[target], network.origins(source, target), strict=True):
        kinds[origin].append(str(number))
    return "; ".join(f"{kind} {', '.join(numbers)}" for kind, numbers in kinds.items() if numbers)


def _describe_data(metadata: Mapping[str, Any]) -> Iterator[str]:
    for satellite, found in metadata.get("data", {}).items():
        splits = [f"{name[7:-1]} {text.split(' in ')[0]}" for name, text in found.items() if name.startswith("split")]
        chosen = {name: found.get(f"the selection's {name}", "null") for name in ("years", "days", "hours", "tiles")}
        some = [f"{name} {value}" for name, value in chosen.items() if value != "null"] or ["all times and tiles"]
        files = found.get("the number of files", "an unknown number").split(",")[0]
        yield f"  {satellite}: files {files}; {', '.join(splits)}; {', '.join(some)}"
        for split, days_or_tiles in metadata.get("splits", {}).get(satellite, {}).items():
            yield f"    {split}: {', '.join(days_or_tiles)}"
    if not metadata.get("data"):
        yield "  not told by this checkpoint"


def _describe_training(metadata: Mapping[str, Any], written: str) -> Iterator[str]:
    config, versions = metadata["config"], metadata["versions"]
    batch = config.get("batch_size", "an unknown number of")
    yield f"  {batch} images of each satellite a step, seed {metadata['seed']}, {metadata['process_count']} process(es)"
    if written:
        yield f"  checkpoint written {written}"
    yield "  " + ", ".join(f"{name} {version}" for name, version in versions.items())


def _describe_scores(scores: Mapping[str, float]) -> list[str]:
    """The RMSE of each band, a line for each kind."""
    found: dict[str, dict[str, str]] = {}
    for tag, score in scores.items():
        if "/rmse_" in tag and score > ROUNDING:  # a band that is passed on has none
            *kind, band, metric = tag.removeprefix("validation_").split("/")
            unit = metric.removeprefix("rmse_").replace("reflectance", "")
            found.setdefault("/".join(kind), {})[band] = f"{int(band[4:])}: {score:.3g} {unit}".strip()
    lines = [f"  {_kind_in_words(kind)}, by band: {', '.join(bands.values())}" for kind, bands in found.items()]
    return lines or ["  none are stored"]


def _kind_in_words(kind: str) -> str:
    """Such as 'G16, from its bands that G17 has too' of 'withheld/G16-G17'."""
    name, _, pair = kind.partition("/")
    whole, _, part = pair.partition("-")
    return f"{whole}, from its bands that {part} has too" if name == "withheld" else kind


def _calibration(network: Any, params: Mapping[str, Any]) -> str:
    if not network.is_calibrated:
        return _NONE
    fitted = any(np.any(np.asarray(each["std"]) != 1) for each in params["calibration"].values())
    return _CALIBRATED if fitted else _PENDING
