"""`satxlate info`: what a run or a translated file is, on one screen; `satxlate runs`: those that are shipped."""

import argparse
import json
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

from satxlate_jax.checkpoints import Archive
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import get_satellite
from satxlate_jax.models.families import make_translator
from satxlate_jax.translation.load import PRETRAINED, SHIPPED, load, open_run
from satxlate_jax.translation.missing import FLAGS
from satxlate_jax.translation.translate import TileTranslator

_CALIBRATED = """standard deviations are fitted after the last step to errors on what was left out: blocks of days
  (of tiles, where there are fewer than four days), each predicted without it, and the validation split;
  they do not hold for other views and seasons, nor where `extrapolated` is set"""
_PENDING = "none yet: standard deviations are fitted after the last step; finish the run"
_NONE = "none: the spread of an ensemble's members (--samples) is no error bar"


def _of_band(satellite: str, number: int) -> str:
    return f"{number} ({get_satellite(satellite).band(number).wavelength:g} um)"


def describe_run(run: str) -> list[str]:
    """What a run is, line by line; InputError where there is none."""
    translator, (checkpoints, name) = load(run), open_run(run)
    metadata, network = translator.metadata, translator.network
    config, size = metadata["config"], sum(np.size(leaf) for leaf in jax.tree.leaves(translator.params))
    family = config["generator"].get("family", "vae_gan").replace("_", " ")
    lines = [f"{name}: {family}, step {translator.step} of {config['steps']}, {size:,} parameters", "satellites"]
    for satellite in translator.satellites:
        bands = ", ".join(_of_band(satellite, band.number) for band in translator.bands(satellite))
        lines.append(f"  {satellite}, {get_satellite(satellite).instrument}: bands {bands}")
    lines.append("translations")
    pairs = [(a, b) for a in translator.satellites for b in translator.satellites if a != b]
    lines += [f"  {a} to {b}: {_passed_and_inferred(network, a, b)}" for a, b in pairs]
    lines += ["data", *_describe_data(metadata)]
    lines += ["training", *_describe_training(metadata, checkpoints)]
    lines += ["RMSE on the validation split at its last scoring", *_scores(Path(run))]
    lines += ["calibration", f"  {_calibration(translator)}"]
    card = SHIPPED / f"{name}.md"
    return [*lines, "", card.read_text().rstrip()] if run.startswith(PRETRAINED) else lines


def _passed_and_inferred(network: Any, source: str, target: str) -> str:
    passed = {position for _, position in network.copied(source, target)}
    kinds = {"passed on": [], "inferred": []}  # type: dict[str, list[str]]
    for position, number in enumerate(network.bands[target]):
        kinds["passed on" if position in passed else "inferred"].append(str(number))
    return "; ".join(f"{kind} {', '.join(numbers) or 'none'}" for kind, numbers in kinds.items())


def _describe_data(metadata: Mapping[str, Any]) -> Iterator[str]:
    for satellite, found in metadata.get("data", {}).items():
        splits = [f"{name[7:-1]} {text.split(' in ')[0]}" for name, text in found.items() if name.startswith("split")]
        chosen = {name: found.get(f"the selection's {name}", "null") for name in ("years", "days", "hours", "tiles")}
        some = [f"{name} {value}" for name, value in chosen.items() if value != "null"] or ["all times and tiles"]
        files = found.get("the number of files", "an unknown number").split(",")[0]
        yield f"  {satellite}: files {files}; {', '.join(splits)}; {', '.join(some)}"
    if not metadata.get("data"):
        yield "  not told by this checkpoint"


def _describe_training(metadata: Mapping[str, Any], checkpoints: Any) -> Iterator[str]:
    config, versions = metadata["config"], metadata["versions"]
    batch = config.get("batch_size", "an unknown number of")
    yield f"  {batch} images of each satellite a step, seed {metadata['seed']}, {metadata['process_count']} process(es)"
    if not isinstance(checkpoints, Archive):
        written = (checkpoints.directory / str(metadata["step"])).stat().mtime
        yield f"  checkpoint written {datetime.fromtimestamp(written, UTC):%Y-%m-%d %H:%M} UTC"
    yield "  " + ", ".join(f"{name} {version}" for name, version in versions.items())


def _scores(run: Path) -> list[str]:
    """The last RMSE of each band on the validation split, of the run's TensorBoard files, a line for each kind."""
    from tensorboard.compat.proto.event_pb2 import Event  # here, because few commands need it

    found: dict[str, dict[str, str]] = {}
    for path in sorted(run.glob("events.out.tfevents.*")):
        content, start = path.read_bytes(), 0
        while start + 12 <= len(content):  # TFRecord: length, its checksum, the record, its checksum
            (length,) = struct.unpack_from("<Q", content, start)
            event = Event.FromString(content[start + 12 : start + 12 + length])
            start += length + 16
            for value in (value for value in event.summary.value if "/rmse_" in value.tag):
                (score,) = struct.unpack("<f", value.tensor.tensor_content)
                *kind, band, metric = value.tag.removeprefix("validation_").split("/")
                unit = metric.removeprefix("rmse_").replace("reflectance", "")
                if score:  # a band that is passed on has none
                    found.setdefault("/".join(kind), {})[band] = f"{int(band[4:])}: {score:.3g} {unit}".strip()
    lines = [f"  {kind}, by band: {', '.join(bands.values())}" for kind, bands in found.items()]
    return lines or ["  none are stored"]


def _calibration(translator: TileTranslator) -> str:
    if not translator.network.is_calibrated:
        return _NONE
    return (
        _CALIBRATED if any(np.any(each["std"] != 1) for each in translator.params["calibration"].values()) else _PENDING
    )


def describe_translation(path: str) -> list[str]:
    """What a translated file is, line by line; InputError where it is none."""
    try:
        with xr.open_dataset(path, engine="netcdf4") as opened:
            tile = opened.load()
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' is neither a run nor a netCDF file") from error
    known = tile.attrs
    if "checkpoint_satellites" not in known:
        raise InputError(f"'{path}' was not written by `satxlate translate`; it names no checkpoint")
    satellites = json.loads(known["checkpoint_satellites"])
    network = make_translator(json.loads(known["checkpoint_config"]), satellites)
    source, target = (_domain(satellites, known[name]) for name in ("source_satellite", "satellite"))
    lines = [
        f"{Path(path).name}: {known['title']}",
        f"  from {known['source_file']}, by run '{known['checkpoint_run']}', step {known['checkpoint_step']}",
        f"  {known['history']}",
        "bands",
    ]
    passed = {network.bands[target][position] for _, position in network.copied(source, target)}
    for number in (number for number in network.bands[target] if f"BAND{number:02d}" in tile):
        band, values = get_satellite(target).band(number), tile[f"BAND{number:02d}"]
        spread = next(
            (tile[f"{band.name}_{kind}"] for kind in ("std", "spread") if f"{band.name}_{kind}" in tile), None
        )
        unit = f" {band.unit}".replace(" 1", "")
        about = "all missing" if bool(values.isnull().all()) else f"mean {float(values.mean()):.4g}{unit}"
        about += "" if spread is None else f", standard deviation {float(spread.mean()):.3g}{unit}"
        origin = "passed on" if number in passed else "inferred"
        if "filled" in tile:
            filled = (tile["filled"].values >> network.bands[target].index(number)) % 2
            origin = f"measured, {filled.mean():.1%} of the pixels filled"
        lines.append(f"  {_of_band(target, number)}: {origin}, {about}")
    shares = {name: float(((tile["quality"].astype(int) & bit) != 0).mean()) for name, bit in FLAGS.items()}
    if "extrapolated" in tile:
        shares["extrapolated"] = float((tile["extrapolated"] == 1).mean())
    lines.append("pixels flagged: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    if "surprise" in tile:
        lines.append(f"surprise of the measurements: {float(tile['surprise'].mean()):.1f} bits per pixel")
    return lines


def _domain(satellites: Mapping[str, Any], name: str) -> str:
    """A run's own name for a satellite, of which files keep the first part alone."""
    return name if name in satellites else next(each for each in satellites if each.split("_", 1)[0] == name)


def main(options: argparse.Namespace) -> None:
    """Run the subcommand `info`."""
    what = options.what
    is_run = what.startswith(PRETRAINED) or Path(what).is_dir()
    if not is_run and not Path(what).is_file():
        raise InputError(f"'{what}' does not exist; give a run's folder, pretrained:NAME or a translated file")
    print("\n".join(describe_run(what) if is_run else describe_translation(what)))


def runs(options: argparse.Namespace) -> None:
    """Run the subcommand `runs`."""
    if (options.pack is None) != (options.output is None):
        raise InputError("--pack RUN and --output NAME.npz go together")
    if options.pack is None:
        for path in sorted(SHIPPED.glob("*.npz")):
            title = path.with_suffix(".md").read_text().splitlines()[0].lstrip("# ")
            print(f"{PRETRAINED}{path.stem}  {title} ({path.stat().st_size / 1e3:.0f} kB)")
        return
    translator, path = load(options.pack), Path(options.output)
    metadata = json.loads(json.dumps(translator.metadata))
    metadata["config"]["data"]["dir"] = ""  # of the machine that trained
    Archive.write(path, translator.params, metadata)
    print(f"{path}: {path.stat().st_size / 1e3:.0f} kB of run '{translator.run}', step {translator.step}")
