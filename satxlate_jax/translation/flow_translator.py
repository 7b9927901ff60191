"""A spectral flow that takes and gives physical units: translations with their distribution, and exact inverses."""

import zlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import (
    SATELLITES,
    denormalize,
    get_satellite,
    normalize,
    published_statistics,
    shared_bands,
)
from satxlate_jax.models.families import make_translator
from satxlate_jax.models.spectral_flow import SpectralFlow
from satxlate_jax.translation.band_stacking import (
    STD_TITLE,
    UNCALIBRATED_TITLE,
    Extras,
    Layout,
    stack_bands,
    unstack_bands,
)
from satxlate_jax.translation.filling import fill_image
from satxlate_jax.translation.finer_pixels import FinerProgram, finer_by
from satxlate_jax.translation.flags import EXTRAPOLATED_BANDS, describe_bits, pack_bits, unpack_bits
from satxlate_jax.translation.inference import FlowProgram
from satxlate_jax.translation.translate import TileTranslator
from satxlate_jax.wavelength_axis import ORIGINS, RESPONSE_TOLERANCE, assign_channels

LIMITS = (-100.0, 3000.0)
"""Bits that surprise is limited to, so that a file can pack them."""


class Distribution(NamedTuple):
    """Mean and standard deviation of a translation, in the bands' units, of the kind of its input."""

    mean: Any
    std: Any


class FlowTranslator(TileTranslator):
    """A trained spectral flow; see `TileTranslator` for what both families do."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._flow = FlowProgram(self.params, self.network, self.block)
        self._adopted: dict[str, FlowTranslator] = {}

    def translate_tiles(self, tiles: Sequence[xr.Dataset], to: str, **options: Any) -> list[xr.Dataset]:
        """As of both families, also of a satellite that the run does not know but whose instrument it does.

        Of tiles that were repaired, what rests on filled values is flagged as extrapolated.
        """
        source = options.get("source") or tiles[0].attrs.get("satellite")
        ready = self.ready_for(source)
        made = TileTranslator.translate_tiles(ready, tiles, to, **options)
        return [
            ready._flag_filled(output, tile, *ready._domains(source, to)) if "filled" in tile else output
            for tile, output in zip(tiles, made, strict=True)
        ]

    def ready_for(self, satellite: str | None, as_instrument: bool = False) -> "FlowTranslator":
        """The translator, or, where it does not know a satellite but can adopt it, one that has."""
        if satellite is None or satellite not in SATELLITES or not self.can_adopt(satellite, as_instrument):
            return self
        if satellite not in self._adopted:
            self._adopted[satellite] = self.adopt(satellite)
        return self._adopted[satellite]

    def distribution(self, tile: Any, to: str, *, source: str | None = None) -> Distribution:
        """Mean and standard deviation of a translation, of the kind of the tile, Dataset or batch; see `translate`.

        Of a Dataset both hold `extrapolated` and `extrapolated_bands`.
        """
        if isinstance(tile, xr.Dataset):
            made = self.translate(tile, to, source=source)
            names = [band.name for band in self.bands(to)]
            std = made[[f"{name}_std" for name in names]].rename({f"{name}_std": name for name in names})
            flags = made[["extrapolated", EXTRAPOLATED_BANDS]]
            return Distribution(made[[*names, "quality", *flags]], std.assign(flags))
        ours, target = self._domains(source, to)
        mean, extras = self._run(self._as_batch(tile, ours), ours, target, 0, 0)
        shape = (*np.shape(tile)[:-1], -1)
        assert extras.std is not None
        return Distribution(mean.reshape(shape).astype(np.float32), extras.std.reshape(shape).astype(np.float32))

    def sample(self, tile: Any, to: str, *, source: str | None = None, seed: int = 0) -> Any:
        """One draw of a translation; the same noise for the same seed and place at all times. See `translate`.

        A Dataset holds the draw as BANDxx.
        """
        if isinstance(tile, xr.Dataset):
            made = self.translate(tile, to, source=source, samples=1, seed=seed)
            names = [band.name for band in self.bands(to)]
            return made.assign({name: made[f"{name}_samples"].isel(sample=0) for name in names}).drop_vars(
                [f"{name}_{what}" for name in names for what in ("samples", "std")]
            )
        ours, target = self._domains(source, to)
        _, extras = self._run(self._as_batch(tile, ours), ours, target, 1, seed)
        assert extras.samples is not None
        return extras.samples[:, 0].reshape(*np.shape(tile)[:-1], -1).astype(np.float32)

    def to_latent(self, tile: xr.Dataset, *, given: str | None = None, source: str | None = None) -> xr.Dataset:
        """The latent image of a tile: exactly invertible by `from_latent`.

        Args:
          tile: as `translate` takes a Dataset, with no pixel missing.
          given: a satellite; of the tile's bands those that it has too stay as they are, the others become Gaussian
            wavelet coefficients given these. Default: the satellite that leaves most of them.
          source: the satellite of the tile; default its attribute.

        Returns:
          `latent` [row, column, channel] on the wavelength axis, network units, 0 where the satellite has no band.
        """
        source = self._source(source or tile.attrs.get("satellite"))
        if given is None:
            given = min(self.satellites, key=lambda name: len(self.network.axis.given(name, source)) or 1_000)
        given = self.domain(given)
        x, layout = stack_bands(tile, self.bands(source))
        if not np.isfinite(x).all():
            raise InputError("a latent image needs every pixel; the tile has missing ones")
        images = self._with_angles(normalize(x, *self._statistics(source))[None], source, [tile], [layout])
        z = self._flow.run_unblocked(SpectralFlow.to_latent, images, source, given)[0]
        layout = replace(layout, dims=(layout.rows, layout.columns))
        variables = {"latent": ((*layout.dims, "channel"), z), "angles": ((*layout.dims, "angle"), images[0, ..., -2:])}
        return xr.Dataset(variables, layout.coordinates(tile), tile.attrs | {"satellite": source, "given": given})

    def from_latent(self, latent: xr.Dataset) -> xr.Dataset:
        """The tile of a latent image of `to_latent`, float32 bands in their units."""
        satellite, given = (self.domain(latent.attrs[name]) for name in ("satellite", "given"))
        z, angles = (np.asarray(latent[name].values, np.float32)[None] for name in ("latent", "angles"))
        made = self._flow.run_unblocked(SpectralFlow.from_latent, z, satellite, given, others=[angles])[0]
        values = denormalize(made, *self._statistics(satellite)).astype(np.float32)
        dims = latent["latent"].dims[:2]
        variables = {
            band.name: (dims, values[..., index], {"units": band.unit})
            for index, band in enumerate(self.bands(satellite))
        }
        return xr.Dataset(variables, latent.coords, latent.attrs)

    def _domains(self, source: str | None, to: str) -> tuple[str, str]:
        ours, target = super()._domains(source, to)
        if self.network.axis.are_alternative_band_sets(ours, target):
            raise InputError(f"{ours} and {target} are choices of one satellite's bands; name another satellite")
        if not self.can_translate(ours, target):
            raise InputError(f"run '{self.run}' does not know how bands of {target} follow from those of {ours}")
        return ours, target

    def can_translate(self, source: str, target: str) -> bool:
        """Tell if what a target has and a source has not can be inferred."""
        return self.network.can_translate(self.params, source, target)

    def can_adopt(self, satellite: str, as_instrument: bool = False) -> bool:
        """Tell if the run can translate a satellite that it does not know: of its instruments, or with its bands."""
        theirs, ours = get_satellite(satellite), [get_satellite(name) for name in self.satellites]
        if theirs in ours:
            return False
        alike = any(one.instrument == theirs.instrument for one in ours)
        return alike or (as_instrument and bool(shared_bands(satellite, ours[0].name)))

    def adopt(self, satellite: str) -> "FlowTranslator":
        """The same run with a satellite that no training saw, as a source; InputError where they share no band.

        Of an instrument that the run knows (GOES-18 for GOES-16) it is as good as that. Of another one, those of its
        bands count that have a wavelength of the run's; what they leave is inferred at each scale from the bands that
        are there (models/band_covariance.py) and marked as extrapolated, as all bands are where responses differ.
        """
        if not self.can_adopt(satellite, as_instrument=True):
            raise InputError(f"run '{self.run}' has no use for {satellite}: it knows it, or shares no band with it")
        known, instrument = self.metadata["satellites"], get_satellite(satellite).instrument
        twin = next((name for name in known if get_satellite(name).instrument == instrument), None)
        if twin:
            entry = known[twin]
        else:
            every = [band.number for band in get_satellite(satellite).bands]
            bands = {name: list(each["bands"]) for name, each in known.items()}
            channels = assign_channels(bands | {satellite: every})[satellite]
            numbers = [band for band, channel in zip(every, channels, strict=True) if channel < self.network.axis.size]
            mean, std = published_statistics(satellite, numbers)
            entry = {"bands": numbers, "mean": mean.tolist(), "std": std.tolist()}
        metadata, network = self._knowing(satellite, entry)
        needed = dict(network.axis.adapted)[satellite]
        waves = {name: _wavelengths(network, name) for name in network.bands}
        ours = np.array([waves[satellite][channel] for channel in needed])
        adapter_of = twin
        for name in known if needed and not twin else ():
            theirs = np.array([waves[name].get(channel, np.inf) for channel in needed])
            adapter_of = name if np.all(np.abs(ours / theirs - 1) <= RESPONSE_TOLERANCE) else adapter_of
        params = network.adopt(jax.tree.map(np.asarray, self.params), satellite, twin, adapter_of)
        return FlowTranslator(params, metadata, self.run, self.block)

    def _knowing(self, satellite: str, entry: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        metadata = {**self.metadata, "satellites": {**self.metadata["satellites"], satellite: entry}}
        return metadata, make_translator(metadata["config"], metadata["satellites"])

    def with_bands(self, source: str, numbers: Collection[int], target: str) -> tuple[TileTranslator, str]:
        """As of both families; what else the target has is inferred at each scale (models/band_covariance.py)."""
        entry = self.metadata["satellites"][source]
        kept = [place for place, number in enumerate(entry["bands"]) if number in numbers]
        if len(kept) in (0, len(entry["bands"])):
            return super().with_bands(source, numbers, target)
        some = {key: [entry[key][place] for place in kept] for key in ("bands", "mean", "std")}
        name = "_".join([source, "with", *map(str, some["bands"])])
        metadata, network = self._knowing(name, some)
        params = network.adopt(jax.tree.map(np.asarray, self.params), name, None, None)
        made = FlowTranslator(params, metadata, self.run, self.block)
        return (made, name) if made.can_translate(name, target) else super().with_bands(source, numbers, target)

    def check_surprise(self, satellite: str) -> None:
        """Raise InputError unless the run knows what that satellite's bands are usually like."""
        usual = self.params.get("usual", {}).get(self.domain(satellite), {"precision": np.zeros(1)})
        if not np.any(usual["precision"]):
            raise InputError(
                f"run '{self.run}' does not know what is usual for {satellite}: trained without config.flow.surprise "
                "or without images of its instrument with these bands"
            )

    def surprise(self, tile: xr.Dataset, *, source: str | None = None) -> xr.Dataset:
        """How unusual a tile's measurements are: faults, or scenes unlike those of the training.

        For each band, given the others, BANDxx: bits beyond the training's average [row, column], summed over the
        wavelet's scales, NaN where a band is missing; `surprise`, the largest of them (models/band_covariance.py). The
        source is by default the tile's attribute. InputError as of `translate`, or where the run does not know what is
        usual.
        """
        source = self._source(source or tile.attrs.get("satellite"))
        self.check_surprise(source)
        x, layout = stack_bands(tile, self.bands(source))
        filled, missing = self._fill(x[None], source)
        bits = self._flow.run_unblocked(SpectralFlow.surprise, self._with_angles(filled, source), source)[0].clip(
            *LIMITS
        )
        bits[missing[0]] = np.nan
        title = "bits beyond the training's average, given the other bands"
        variables = {
            band.name: layout.put_back(bits[..., index], {"units": "bit", "long_name": f"{band.name}: {title}"})
            for index, band in enumerate(self.bands(source))
        }
        title = f"surprise: that of the band of {source} that stands out most, in {title}"
        variables["surprise"] = layout.put_back(bits.max(-1), {"units": "bit", "long_name": title})
        attributes = {"satellite": source, "source": tile.attrs.get("source", "")}
        return xr.Dataset(variables, layout.coordinates(tile), attributes)

    def repair(self, tile: xr.Dataset, *, source: str | None = None) -> xr.Dataset:
        """Fill the bands that a tile lacks, and pixels missing in some of its bands.

        Args:
          tile: as `translate` takes a Dataset; some of its satellite's bands may be absent.
          source: the satellite of the tile; default its attribute.

        Returns:
          All its bands that the run knows. Measured values are as they were; BANDxx_std is the standard deviation where
          a value was filled and the instrument's noise elsewhere; `filled` has a bit for each band that was. Pixels
          that every band lacks stay missing. InputError where no band of the run is there, or it does not know what is
          usual for that satellite.
        """
        source = self._source(source or tile.attrs.get("satellite"))
        self.check_surprise(source)
        bands = self.bands(source)
        there = [band for band in bands if band.name in tile and np.isfinite(tile[band.name].values).any()]
        if not there:
            raise InputError(f"{tile.attrs.get('source') or 'the tile'} holds no band of {source} that the run knows")
        measured, layout = stack_bands(tile, there)
        x = np.full((*measured.shape[:2], len(bands)), np.nan, np.float32)
        x[..., [bands.index(band) for band in there]] = measured
        center, scale = self._statistics(source)

        def infer(whole: np.ndarray, given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            image = self._with_angles(normalize(whole, center, scale), source)
            mean, std = self._flow.infer(image, source, given)
            return denormalize(mean, center, scale), std * scale

        values, std, filled = fill_image(x, infer)
        std = np.where(filled, std, [band.noise for band in bands])
        lost = ~np.isfinite(values).any(-1)
        made = unstack_bands(values, lost, tile, layout, bands, source, Extras(std=std))
        for index, band in enumerate(bands):
            field, is_filled = made[band.name], layout.put_back(filled[..., index])
            field.values = np.where(is_filled, field, layout.put_back(x[..., index]))
            field.attrs["long_name"] = field.attrs["long_name"].replace("synthesised", "filled where it was missing")
        described = describe_bits(bands, "bands whose value was inferred, not measured")
        made["filled"] = layout.put_back(pack_bits(filled), described)
        return made.assign_attrs(self._origin(tile, source))

    def _flag_filled(self, made: xr.Dataset, tile: xr.Dataset, source: str, target: str) -> xr.Dataset:
        """Flag what follows from filled values; a filled band that passes on keeps its own standard deviation."""
        filled = {
            name: tile["filled"].copy(data=where).drop_attrs() for name, where in unpack_bits(tile["filled"]).items()
        }
        ours, theirs = self.bands(source), self.bands(target)
        passed = {theirs[there].name: ours[here].name for here, there in self.network.copied(source, target)}
        anywhere, flags = sum(filled[band.name] for band in ours) > 0, made[EXTRAPOLATED_BANDS]
        for bit, band in enumerate(theirs):
            measured_as = passed.get(band.name)
            where = filled[measured_as] if measured_as else anywhere
            flags = flags | 2**bit * (where & np.isfinite(made[band.name]))
            if measured_as and bool(where.any()):
                std, title = made[f"{band.name}_std"], ORIGINS["passed on"]
                made[std.name] = std.where(~where, tile[std.name.replace(band.name, measured_as)])
                words = ORIGINS["inferred"] if bool(where.all()) else f"{title} or filled where it was missing"
                made[band.name].attrs["long_name"] = made[band.name].attrs["long_name"].replace(title, words)
        told = {EXTRAPOLATED_BANDS: flags.astype(np.int32), "extrapolated": (flags != 0).astype(np.int8)}
        return made.assign({name: field.drop_attrs().assign_attrs(made[name].attrs) for name, field in told.items()})

    def check_samples(self, samples: int) -> None:
        """Raise InputError unless so many samples can be had."""
        if samples < 0:
            raise InputError(f"samples is {samples}; give 0 or more")

    def _run(
        self,
        x: np.ndarray,
        source: str,
        target: str,
        samples: int,
        seed: int,
        tiles: Sequence[xr.Dataset] = (),
        layouts: Sequence[Layout] = (),
    ) -> tuple[np.ndarray, Extras]:
        filled, missing = self._fill(x, source)
        images = self._with_angles(filled, source, tiles, layouts)
        center, scale = self._statistics(target)
        finer = finer_by(tiles[0]) if tiles else 1
        program = FinerProgram(self._flow, finer) if finer > 1 else self._flow
        # the same noise at all times of a place, so that a series of samples does not flicker by it
        names = [str(tile.attrs.get("tile", "")) for tile in tiles] or [""] * len(x)
        places = np.array([zlib.crc32(name.encode()) for name in names], np.uint32)
        draws = [program.distribution(images, source, target, places, seed, member) for member in range(samples)]
        found = draws[0] if draws else program.distribution(images, source, target)
        fields = [denormalize(found.mean, center, scale), np.multiply(found.std, scale, dtype=np.float64)]
        fields += [denormalize(draw.sample, center, scale) for draw in draws]
        for field in fields if missing.any() else ():
            field[missing] = np.nan
        of_target = {theirs: ours for ours, theirs in self.network.copied(source, target)}
        places = [of_target.get(place, 0) for place in range(len(center))]
        passed, is_passed = np.take(x, places, -1), np.isin(np.arange(len(center)), list(of_target))
        noise = np.array([band.noise for band in self.bands(source)])[places]
        for number, field in enumerate(fields):  # what is passed on is as uncertain as it was measured
            np.copyto(field, noise if number == 1 else passed, where=is_passed)
        np.copyto(fields[1], np.nan, where=is_passed & ~np.isfinite(passed))
        extras = Extras(
            std=fields[1],
            std_title=self.std_title(source, target),
            extrapolated=found.extrapolated,
            samples=np.stack(fields[2:], 1) if draws else None,
            origins=self.network.origins(source, target),
        )
        return fields[0], extras

    def std_title(self, source: str, target: str) -> str:
        """What the standard deviations of inferred bands are, in words."""
        return STD_TITLE if self.network.is_fitted(self.params, source, target) else UNCALIBRATED_TITLE

    def _with_angles(
        self, x: np.ndarray, source: str, tiles: Sequence[xr.Dataset] = (), layouts: Sequence[Layout] = ()
    ) -> np.ndarray:
        """Images [n, h, w, band] with the angles of sun and view of their tiles behind the bands, NaN where unknown."""
        angles = np.full((*x.shape[:-1], self.network.extra_channels), np.nan, np.float32)
        for image, tile, layout in zip(angles, tiles, layouts, strict=False):
            zenith, mass = layout.find_angles(tile, get_satellite(source).longitude)
            if zenith is not None:
                image[..., 0] = np.cos(np.radians(zenith))
            if mass is not None:
                image[..., 1] = mass
        return np.concatenate([x, angles], -1).astype(np.float32)

    def _encode(self, x: np.ndarray, source: str) -> np.ndarray:
        raise InputError("a spectral flow has no latent field beside its bands; use to_latent")


def _wavelengths(network: Any, satellite: str) -> dict[int, float]:
    """Channel -> central wavelength of a satellite's band there, um."""
    bands = [get_satellite(satellite).band(number) for number in network.bands[satellite]]
    return {channel: band.wavelength for channel, band in zip(network.axis.of_satellite(satellite), bands, strict=True)}
