"""A tile of one satellite -> the same tile as another satellite would see it.

translator = satxlate_jax.load("RUN")
other = translator.translate(satxlate_jax.read_tile(path), to="H8")
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from satxlate_jax.cli import InputError
from satxlate_jax.instruments import Band, denormalize, get_satellite, normalize
from satxlate_jax.models.families import make_translator
from satxlate_jax.translation.band_stacking import (
    Extras,
    Layout,
    as_plain,
    check_values,
    find_layout,
    stack_bands,
    unstack_bands,
)
from satxlate_jax.translation.filling import clip_to_valid_range, fill_missing
from satxlate_jax.translation.inference import encode_images, on_local_devices, run_network


class TileTranslator:
    """A trained generator that takes and gives physical units: a VAE-GAN; `FlowTranslator` is a spectral flow.

    Attributes:
      params: the generator's parameters, a nested dict.
      metadata: of the checkpoint: config, bands, normalisation, step, versions.
      network: the networks, as functions of `params`.
      run: name of the run's folder.
      radius: pixels that the network sees to each side.
      block: largest side of an image computed at once, pixels, default the family's; larger ones go through in
        overlapping blocks.
    """

    def __init__(self, params: Mapping[str, Any], metadata: Mapping[str, Any], run: str, block: int | None = None):
        self.params, self.metadata, self.run = on_local_devices(params, by_row=False), metadata, run
        self.network: Any = make_translator(metadata["config"], metadata["satellites"])
        self.radius, self.block = self.network.radius, block or self.network.block

    def _refuse(self, *arguments: Any, **options: Any) -> Any:
        """Raise InputError: these are for a spectral flow."""
        raise InputError(f"run '{self.run}' is a VAE-GAN, which knows no distribution; train a 'spectral_flow'")

    distribution = sample = to_latent = from_latent = surprise = check_surprise = repair = adopt = _refuse

    def ready_for(self, satellite: str | None, as_instrument: bool = False) -> "TileTranslator":
        """The translator; a spectral flow also translates satellites that it does not know."""
        return self.adopt(satellite) if as_instrument else self

    def with_bands(self, source: str, numbers: Collection[int], target: str) -> tuple["TileTranslator", str]:
        """The translator for images of a satellite that hold these bands, and the name that the satellite has there.

        InputError where one is missing that the network needs; a spectral flow can go without some.
        """
        if absent := [band.name for band in self.bands(source) if band.number not in numbers]:
            raise InputError(f"the Scene lacks {', '.join(absent)} of {source}, which the network needs; load it")
        return self, source

    def can_translate(self, source: str, target: str) -> bool:
        """Tell if one satellite's images can be made of another's: of the networks that were trained, any."""
        return {source, target} <= {*self.satellites}

    @property
    def satellites(self) -> tuple[str, ...]:
        """The satellites it translates between."""
        return tuple(self.metadata["satellites"])

    @property
    def step(self) -> int:
        """The training step of the checkpoint."""
        return int(self.metadata["step"])

    def bands(self, satellite: str) -> tuple[Band, ...]:
        """The bands it reads or makes of a satellite; InputError where the checkpoint does not know that."""
        domain = self.domain(satellite)
        return tuple(get_satellite(domain).band(number) for number in self.network.bands[domain])

    def domain(self, satellite: str) -> str:
        """The checkpoint's name for a satellite: of H8 that, or the one that begins with it; else InputError."""
        if satellite in self.satellites:
            return satellite
        labelled = [name for name in self.satellites if get_satellite(name).name == satellite]
        if len(labelled) == 1:
            return labelled[0]
        raise InputError(
            f"run '{self.run}' translates between {', '.join(self.satellites)}, not '{satellite}'; name one of those"
        )

    def translate(
        self, tile: Any, to: str, *, source: str | None = None, samples: int = 0, seed: int = 0, latent: bool = False
    ) -> Any:
        """Translate a tile of any size; the result is of the kind of the input.

        Args:
          tile: physical units (K, reflectance 1), NaN or masked where missing. A Dataset as `read_tile` gives it; a
            satpy.Scene of `read_scene` (extra l1b), which gives a Scene, lazily, on its own area; a
            DataArray with a dimension `band` (its coordinate, where there is one, holds 1-based band numbers); a batch,
            [..., h, w, band] of numpy or jax, in the order of `bands(source)`; or a list of any of these. Rows and
            columns of xarray input are found by the names of its dimensions (lat and lon, y and x, ...) or by its
            coordinates' CF attributes; order, names and coordinates stay as they are.
          to: the satellite to make.
          source: the satellite of the tile; default the attribute `satellite` of xarray input.
          samples: of the spectral flow, how many draws a Dataset holds as BANDxx_samples, beside the mean. Of the
            VAE-GAN members of an ensemble over the latent noise, at least 2; a Dataset then holds their mean and, as
            BANDxx_spread, their standard deviation, which is not calibrated. Other kinds hold the mean alone.
          seed: of the ensemble.
          latent: also give the latent field, as `latent` (lat_latent, lon_latent, channel) of a Dataset; a batch gives
            the latent field instead of the bands. It is computed in blocks too, but returned whole: 4 bytes a value,
            at the published width (64 channels) 23 MB for a tile of 300 pixels and 370 MB for one of 1200.

        Returns:
          A Dataset: float32 BANDxx of the target on the same grid, missing where an input band is missing, reflective
          bands also at night (sun at or below the horizon), limited to each band's valid range; the bits of `quality`
          (lat, lon) say which. A DataArray or a batch: the same values without the night rule. Of the spectral flow
          also BANDxx_std, calibrated on what was left out of training, and `extrapolated`; its bands that the source
          has pass unchanged.

        Raises:
          InputError: the checkpoint lacks a satellite, the tile lacks a band or has it in another unit, or the input
            cannot be understood.
        """
        self.check_samples(samples)
        if type(tile).__module__.startswith("satpy."):
            from satxlate_jax.sources.scene import to_scene
            from satxlate_jax.translation.scene import translate_on_area

            return to_scene(translate_on_area(self, tile, to))
        options: dict[str, Any] = {"source": source, "samples": samples, "seed": seed, "latent": latent}
        if isinstance(tile, xr.Dataset):
            return self.translate_tiles([tile], to, **options)[0]
        if isinstance(tile, xr.DataArray):
            return self._translate_data_array(tile, to, **options)
        if isinstance(tile, list | tuple):
            return [self.translate(one, to, **options) for one in tile]
        if not hasattr(tile, "__array__"):
            kind = type(tile).__name__
            raise InputError(f"a tile is a Dataset, a DataArray or an array, not {kind}; read_tile reads a file")
        output = self._translate_batch(tile, to, **options)
        return jnp.asarray(output) if isinstance(tile, jax.Array) else output

    def translate_tiles(
        self,
        tiles: Sequence[xr.Dataset],
        to: str,
        *,
        source: str | None = None,
        samples: int = 0,
        seed: int = 0,
        latent: bool = False,
    ) -> list[xr.Dataset]:
        """Translate tiles of one satellite and one size together, on all local devices; see `translate`."""
        source, target = self._domains(source or tiles[0].attrs.get("satellite"), to)
        fields, layouts = zip(*(stack_bands(tile, self.bands(source)) for tile in tiles), strict=True)
        x = np.stack(fields)
        values, extras = self._run(x, source, target, samples, seed, tiles, layouts)
        z = self._encode(x, source) if latent else None
        outputs = []
        for index, (tile, layout) in enumerate(zip(tiles, layouts, strict=True)):
            missing = ~np.isfinite(x[index]).all(-1)
            own = extras.of_image(index)
            output = unstack_bands(values[index], missing, tile, layout, self.bands(target), target, own)
            if z is not None:
                output["latent"] = ((f"{layout.rows}_latent", f"{layout.columns}_latent", "channel"), z[index])
            outputs.append(output.assign_attrs(self._origin(tile, target)))
        return outputs

    def _origin(self, tile: xr.Dataset, target: str) -> dict[str, Any]:
        return {
            "satellite": get_satellite(target).name,
            **get_satellite(target).platform,
            "tile": tile.attrs.get("tile", ""),
            "source": tile.attrs.get("source", ""),
            "source_satellite": tile.attrs.get("satellite", ""),
            "checkpoint_run": self.run,
            "checkpoint_step": self.step,
        }

    def _source(self, satellite: str | None) -> str:
        if satellite is None:
            raise InputError("the tile does not say which satellite saw it; pass source=, or set attrs['satellite']")
        return self.domain(satellite)

    def _domains(self, source: str | None, to: str) -> tuple[str, str]:
        return self._source(source), self.domain(to)

    def _statistics(self, domain: str) -> tuple[np.ndarray, np.ndarray]:
        statistics = self.metadata["satellites"][domain]
        return np.asarray(statistics["mean"]), np.asarray(statistics["std"])

    def _fill(self, x: np.ndarray, source: str) -> tuple[np.ndarray, np.ndarray]:
        """Images [n, h, w, band] in network units, filled, and where a band was missing, bool [n, h, w]."""
        filled, missing = (np.stack(parts) for parts in zip(*(fill_missing(image) for image in x), strict=True))
        return normalize(filled, *self._statistics(source)), missing

    def check_samples(self, samples: int) -> None:
        """Raise InputError unless so many samples can be had."""
        if samples < 0 or samples == 1:
            raise InputError(f"samples is {samples}; give 0, or at least 2 for a standard deviation")

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
        """Images [n, h, w, band] of the target in its bands' units, float64, and what is known beside them."""
        filled, missing = self._fill(x, source)
        settings = {"margin": self.radius, "block": self.block, "members": samples, "seed": seed}
        output, deviation = run_network(self.params, self.network, filled, source, target, **settings)
        mean, std = self._statistics(target)
        values = denormalize(output, mean, std)
        values[missing] = np.nan
        if deviation is None:
            return values, Extras()
        deviation = deviation.astype(np.float64) * std
        deviation[missing] = np.nan
        title = f"standard deviation over {samples} members with latent noise of their own, not calibrated"
        return values, Extras(std=deviation, std_name="spread", std_title=title)

    def _encode(self, x: np.ndarray, source: str) -> np.ndarray:
        stride = self.network.stride
        if x.shape[1] % stride or x.shape[2] % stride:
            raise InputError(f"a latent field needs sides that are multiples of {stride}, not {x.shape[1:3]}")
        filled, _ = self._fill(x, source)
        return encode_images(self.params, self.network, filled, source, block=self.block)

    def _as_batch(self, values: Any, source: str) -> np.ndarray:
        """Images [n, h, w, band] of an array [..., h, w, band]."""
        bands, values = self.bands(source), as_plain(values, "the batch")
        if values.ndim < 3 or values.shape[-1] != len(bands) or not values.size:
            wanted = f"[..., h, w, {len(bands)}] (bands {', '.join(str(band.number) for band in bands)})"
            raise InputError(f"a batch of {source} must be {wanted}, not {values.shape}")
        x = values.reshape(-1, *values.shape[-3:])
        for image in x:
            check_values(image, bands, "the batch")
        return x

    def _translate_batch(
        self, values: Any, to: str, source: str | None, samples: int, seed: int, latent: bool
    ) -> np.ndarray:
        source, target = self._domains(source, to)
        x = self._as_batch(values, source)
        if latent:
            z = self._encode(x, source)
            return z.reshape(*np.shape(values)[:-3], *z.shape[1:])
        made, extras = self._run(x, source, target, samples, seed)
        output = clip_to_valid_range(made, self.bands(target))[0]
        passed = [place for place, origin in enumerate(extras.origins) if origin == "passed on"]
        output[..., passed] = made[..., passed]
        return output.reshape(*np.shape(values)[:-1], -1).astype(np.float32)

    def _translate_data_array(
        self, tile: xr.DataArray, to: str, source: str | None, samples: int, seed: int, latent: bool
    ) -> xr.DataArray:
        source, target = self._domains(source or tile.attrs.get("satellite"), to)
        if latent:
            raise InputError("a DataArray has no place for a latent field; translate a Dataset or a batch")
        if "band" not in tile.dims:
            raise InputError(f"a DataArray needs a dimension 'band'; this one has {', '.join(map(str, tile.dims))}")
        if "band" in tile.coords:
            wanted, given = [band.number for band in self.bands(source)], tile["band"].values.tolist()
            for number in wanted:
                if given.count(number) != 1:
                    count = given.count(number) or "no"
                    raise InputError(f"the DataArray has {count} band {number} in its coordinate 'band'; it needs one")
            tile = tile.isel(band=[given.index(number) for number in wanted])
        layout = find_layout(tile, [dim for dim in tile.dims if dim != "band"], "the DataArray")
        moved = tile.transpose(..., layout.rows, layout.columns, "band")
        values = as_plain(moved.data, "the DataArray")
        output = self._translate_batch(values, to, source, samples, seed, latent=False)
        attributes = {"satellite": get_satellite(target).name, "source_satellite": get_satellite(source).name}
        attributes |= get_satellite(target).platform
        made = xr.DataArray(output, dims=moved.dims, name=tile.name, attrs=attributes).transpose(*tile.dims)
        kept = {name: value.variable for name, value in tile.coords.items() if "band" not in value.dims}
        return made.assign_coords(kept | {"band": [band.number for band in self.bands(target)]})
