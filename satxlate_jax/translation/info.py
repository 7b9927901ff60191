"""`satxlate info`: what a run, a tile or a translation is, on one screen; `satxlate runs`: those that are shipped."""

import argparse
import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import xarray as xr

from satxlate_jax.archive.catalog import parse_name
from satxlate_jax.checkpoints import Archive
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import Band, get_satellite
from satxlate_jax.l1g.reader import read_groups
from satxlate_jax.models.families import make_translator
from satxlate_jax.run_card import describe_run, of_band
from satxlate_jax.sources.granule_files import recognise
from satxlate_jax.translation.flags import QUALITY_BITS, ExtrapolatedShare, unpack_bits
from satxlate_jax.translation.load import PRETRAINED, SHIPPED, load, open_run
from satxlate_jax.wavelength_axis import ORIGINS


def _describe_run(run: str) -> list[str]:
    """The card of a run, and its story where it is a shipped one; InputError where there is none."""
    translator, (checkpoints, name) = load(run), open_run(run)
    written, card = "", SHIPPED / f"{name}.md"
    if not isinstance(checkpoints, Archive):
        seconds = (checkpoints.directory / str(translator.step)).stat().mtime
        written = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    parts = translator.metadata, translator.network, translator.params
    lines = describe_run(name, *parts, _last_scores(Path(run)), written)
    return [*lines, "", card.read_text().rstrip()] if run.startswith(PRETRAINED) else lines


def _last_scores(run: Path) -> dict[str, float]:
    from tensorboard.compat.proto.event_pb2 import Event  # here, because few commands need it

    found = {}
    for path in sorted(run.glob("events.out.tfevents.*")):
        content, start = path.read_bytes(), 0
        while start + 12 <= len(content):  # TFRecord: length, its checksum, the record, its checksum
            (length,) = struct.unpack_from("<Q", content, start)
            event = Event.FromString(content[start + 12 : start + 12 + length])
            start += length + 16
            for value in (value for value in event.summary.value if "/rmse_" in value.tag):
                (found[value.tag],) = struct.unpack("<f", value.tensor.tensor_content)
    return found


def describe_tile(path: str) -> list[str]:
    """What an L1G file is, line by line; InputError where it is none."""
    known = parse_name(Path(path))
    if known is None:
        raise InputError(f"'{path}' has no name of an L1G file")
    satellite = get_satellite(known.satellite)
    (found,) = read_groups([[(known.path, [band.number for band in satellite.bands])]])
    if isinstance(found, InputError):
        raise found
    (tile,), place = (
        found,
        f"{known.satellite} ({satellite.instrument}), tile {known.tile}, {known.time:%Y-%m-%d %H:%M} UTC",
    )
    lines = [f"{known.path.name}: {place}"]
    for band in satellite.bands:
        field = tile[band.name]
        missing = float(field.isnull().mean())
        about = "not there" if missing == 1 else f"{_mean(field, band)}, {missing:.1%} missing"
        lines.append(f"  {of_band(known.satellite, band.number)}: {about}")
    return lines


def _mean(field: xr.DataArray, band: Band) -> str:
    return f"mean {float(field.mean()):.4g}{_unit(band)}"


def _unit(band: Band) -> str:
    return "" if band.unit == "1" else f" {band.unit}"


def describe_translation(path: str) -> list[str]:
    """What a translated file is, line by line; InputError where it is none."""
    try:
        with xr.open_dataset(path, engine="netcdf4") as opened:
            tile = opened.load()
    except (OSError, ValueError) as error:
        raise InputError(f"'{path}' is neither a run nor a netCDF file, and has no name of an L1G tile") from error
    known = tile.attrs
    if "checkpoint_satellites" not in known:
        raise InputError(f"'{path}' was not written by `satxlate translate`; it names no checkpoint")
    try:
        satellites = json.loads(known["checkpoint_satellites"])
        network = make_translator(json.loads(known["checkpoint_config"]), satellites)
        source, target = (_domain(satellites, known[name]) for name in ("source_satellite", "satellite"))
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise InputError(f"'{path}' has damaged attributes (checkpoint_*); translate it again") from error
    lines = [
        f"{Path(path).name}: {known['title']}",
        f"  from {known['source_file']}, by run '{known['checkpoint_run']}', step {known['checkpoint_step']}",
        f"  {known['history']}",
        "bands",
    ]
    extrapolated = ExtrapolatedShare().add(tile)
    filled = unpack_bits(tile["filled"]) if "filled" in tile else {}
    for number in (number for number in network.bands[target] if f"BAND{number:02d}" in tile):
        band, values = get_satellite(target).band(number), tile[f"BAND{number:02d}"]
        spread = next(
            (tile[f"{band.name}_{kind}"] for kind in ("std", "spread") if f"{band.name}_{kind}" in tile), None
        )
        about = "all missing" if bool(values.isnull().all()) else _mean(values, band)
        about += "" if spread is None else f", standard deviation {float(spread.mean()):.3g}{_unit(band)}"
        title = values.attrs.get("long_name", "")
        origin = next((origin for origin, words in ORIGINS.items() if words in title), "inferred")
        if filled:
            share = filled[band.name].mean()
            origin = "filled throughout" if share == 1 else f"measured, {share:.1%} of the pixels filled"
        if share := extrapolated.of_band(band.name):
            about += f", extrapolated {share:.1%}"
        lines.append(f"  {of_band(target, number)}: {origin}, {about}")
    shares = {name: float(((tile["quality"].astype(int) & bit) != 0).mean()) for name, bit in QUALITY_BITS.items()}
    if "extrapolated" in tile:
        shares["extrapolated"] = float((tile["extrapolated"] == 1).mean())
    lines.append("pixels flagged: " + ", ".join(f"{name} {share:.1%}" for name, share in shares.items()))
    if "surprise" in tile:
        lines.append(f"surprise of the measurements: {float(tile['surprise'].mean()):.1f} bits per pixel")
    return lines


def _domain(satellites: Mapping[str, Any], name: str) -> str:
    """A run's own name for a satellite, of which files keep the first part alone."""
    return name if name in satellites else next(each for each in satellites if get_satellite(each).name == name)


def main(options: argparse.Namespace) -> None:
    """Run the subcommand `info`."""
    print("\n\n".join("\n".join(_describe(what)) for what in options.what))


def _describe(what: str) -> list[str]:
    """A run, a tile or a translation, line by line; InputError where it is none of them."""
    is_run = what.startswith(PRETRAINED) or Path(what).is_dir()
    if Path(what).is_dir() and not (Path(what) / "checkpoints").exists():
        files = sorted(path for kind in ("nc", "hdf") for path in Path(what).rglob(f"*.{kind}"))
        files = [path for path in files if not recognise(path.name)]
        some = f"; of its files name one, such as {files[0]}" if files else ""
        raise InputError(f"'{what}' is not a run: it has no folder 'checkpoints'{some}")
    if not is_run and not Path(what).is_file():
        raise InputError(f"'{what}' does not exist; give a run's folder, pretrained:NAME, a tile or a translated file")
    if recognise(what):
        raise InputError(
            f"'{what}' is a Level-1b granule; `satxlate translate` takes it, `satxlate tiles` makes tiles of it"
        )
    describe = _describe_run if is_run else describe_tile if parse_name(Path(what)) else describe_translation
    return describe(what)


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
