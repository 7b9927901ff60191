"""Stack a tile's bands into one array [row, column, band] and back, with its dimensions and units.

Source: NetCDF Climate and Forecast Metadata Conventions 1.8, sections 4 (axis, units, standard names).
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from satxlate_jax.cli import InputError
from satxlate_jax.geometry import HORIZON, air_mass
from satxlate_jax.instruments import Band, get_satellite
from satxlate_jax.l1g.tile import band_attributes, solar_zenith
from satxlate_jax.translation.filling import clip_to_valid_range
from satxlate_jax.translation.flags import EXTRAPOLATED_BANDS, QUALITY, QUALITY_BITS, flag_extrapolated
from satxlate_jax.wavelength_axis import ORIGINS

# axis of CF -> units, and all that names of dimensions and coordinates and the attributes axis, standard_name and units
# may be, in lower case
_UNITS = {
    "Y": {"degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"},
    "X": {"degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"},
}
_WORDS = {
    "Y": {"y", "lat", "latitude", "rlat", "grid_latitude", "row", "rows", "line", "lines", "nj"}
    | {"projection_y_coordinate", "projection_y_angular_coordinate", *_UNITS["Y"]},
    "X": {"x", "lon", "long", "longitude", "rlon", "grid_longitude", "column", "columns", "col", "cols", "ni"}
    | {"pixel", "pixels", "projection_x_coordinate", "projection_x_angular_coordinate", *_UNITS["X"]},
}
# kind -> smallest and largest plausible median of a band, and the unit in words: catches counts, percent and Celsius
_PLAUSIBLE = {
    "reflectance": (-0.5, 2.0, "reflectance from 0 to about 1"),
    "brightness_temperature": (130.0, 450.0, "brightness temperature in K"),
}
_SAME_UNIT = {"1": ("1", "", "unitless", "dimensionless"), "K": ("K", "kelvin", "Kelvin")}


STD_TITLE = "standard deviation, calibrated on what was left out of training"
NOISE_TITLE = "standard deviation of the instrument's nominal noise"
UNCALIBRATED_TITLE = "standard deviation, not calibrated: the training had more bands to infer this one from"


def as_plain(values: Any, name: str) -> np.ndarray:
    """Real numbers of any kind of array (numpy, masked, jax, dask) as float32, NaN where masked; else InputError."""
    if hasattr(values, "compute"):  # dask: numpy would take its numbers without their masks
        values = values.compute()
    mask = np.ma.getmaskarray(values) if isinstance(values, np.ma.MaskedArray) else None
    plain = np.asarray(values)
    if not (jnp.issubdtype(plain.dtype, np.floating) or jnp.issubdtype(plain.dtype, np.integer)):
        raise InputError(f"{name} holds {plain.dtype}; it must hold real numbers, reflectances or temperatures in K")
    with np.errstate(over="ignore"):  # beyond float32 is no measurement: it becomes infinite, which is missing
        plain = plain.astype(np.float32)
    return plain if mask is None else np.where(mask, np.float32(np.nan), plain)


@dataclass(frozen=True)
class Extras:
    """What a translation tells beside its values [row, column, band]."""

    std: np.ndarray | None = None  # standard deviation [row, column, band], in each band's unit
    std_name: str = "std"  # 'std' where it is calibrated, 'spread' where it is only that of an ensemble
    std_title: str = STD_TITLE  # in words
    extrapolated: np.ndarray | None = None  # bool [row, column, band], where inputs are unlike those of the training
    samples: np.ndarray | None = None  # draws [sample, row, column, band]
    origins: Sequence[str] = ()  # of each band, by default inferred; what is passed on is neither limited nor hidden

    def of_image(self, index: int) -> "Extras":
        """The part that one image has of a batch's."""
        parts = self.std, self.extrapolated, self.samples
        std, far, samples = jax.tree.map(lambda part: part[index], parts)
        return replace(self, std=std, extrapolated=far, samples=samples)


@dataclass(frozen=True)
class Layout:
    """The dimensions of a tile's bands, in their order, and which are rows and columns; others have one element."""

    dims: tuple[Hashable, ...]
    rows: Hashable
    columns: Hashable

    def upright(self, variable: xr.DataArray) -> xr.DataArray | None:
        """A variable as [row, column]; None where it has other dimensions, or more than one element along others."""
        others = [dim for dim in variable.dims if dim not in (self.rows, self.columns)]
        if len(variable.dims) - len(others) < 2 or any(variable.sizes[dim] > 1 for dim in others):
            return None
        return variable.isel(dict.fromkeys(others, 0), drop=True).transpose(self.rows, self.columns)

    def put_back(self, field: np.ndarray, attributes: Mapping[str, Any] | None = None, *outer: str) -> xr.Variable:
        """A field [*outer, row, column] as a variable with the dimensions in their order, after outer ones."""
        return xr.Variable((*outer, self.rows, self.columns), field, attributes).set_dims((*outer, *self.dims))

    def coordinates(self, tile: xr.Dataset) -> dict[Hashable, xr.Variable]:
        """The coordinates of a tile that its bands have."""
        return {name: value.variable for name, value in tile.coords.items() if set(value.dims) <= set(self.dims)}

    def find_angles(
        self, tile: xr.Dataset, satellite_longitude: float | None = None
    ) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The solar zenith angle, degrees, and the air mass of a satellite's view, 1 / cosine of its zenith angle.

        Both [row, column], None where the tile does not say; the sun's is the tile's own or by time and place.
        InputError where the solar zenith angles lie on another grid.
        """
        known = xr.Dataset()
        if "solar_zenith" in tile:
            angles = self.upright(tile["solar_zenith"])
            if angles is None:
                raise InputError(f"solar_zenith is {tile['solar_zenith'].dims}, the bands are {self.dims}; regrid it")
            known["solar_zenith"] = (("y", "x"), as_plain(angles.data, "solar_zenith"))
        latitude, longitude = _find_place(tile, "Y", "latitude"), _find_place(tile, "X", "longitude")
        if latitude is not None and longitude is not None:
            lat, lon = map(self.upright, xr.broadcast(latitude, longitude))
            if lat is not None and lon is not None:
                known = known.assign_coords(lat=(("y", "x"), lat.values), lon=(("y", "x"), lon.values))
        if "time" in tile.coords and tile["time"].size == 1:
            known = known.assign_coords(time=tile["time"].values.reshape(()))
        mass = None
        if satellite_longitude is not None and {"lat", "lon"} <= set(known.coords):
            mass = air_mass(satellite_longitude, known["lat"].values, known["lon"].values)
        return solar_zenith(known), mass


def find_layout(tile: xr.Dataset | xr.DataArray, dims: Iterable[Hashable], name: str) -> Layout:
    """Find rows and columns among dimensions of a tile, by their names or their coordinates' CF attributes.

    InputError, for a tile of that name, where these do not say or contradict each other.
    """
    dims = tuple(dims)
    axes = {dim: _axes(tile, dim) for dim in dims}
    for dim in dims:
        if len(axes[dim]) > 1:
            raise InputError(f"dimension '{dim}' of {name} is called or described as both rows and columns; mend that")
    rows, columns = ([dim for dim in dims if axis in axes[dim]] for axis in ("Y", "X"))
    if len(rows) != 1 or len(columns) != 1:
        raise InputError(
            f"cannot tell rows from columns among the dimensions of {name} ({', '.join(map(str, dims)) or 'none'}); "
            "call them lat and lon or y and x, or give their coordinates CF's axis, standard_name or units"
        )
    return Layout(dims, rows[0], columns[0])


def _axes(tile: xr.Dataset | xr.DataArray, dim: Hashable) -> set[str]:
    """The axes that a dimension's name and own coordinate state; if they state none, its other coordinates."""

    def stated(name: Hashable, attrs: Mapping) -> set[str]:
        words = {str(word).strip().lower() for word in (name, *map(attrs.get, ("axis", "standard_name", "units")))}
        return {axis for axis in _WORDS if words & _WORDS[axis]}

    own = stated(dim, tile.coords[dim].attrs if dim in tile.coords else {})
    others = (stated(name, value.attrs) for name, value in tile.coords.items() if value.dims == (dim,))
    return own or set().union(*others)


def _find_place(tile: xr.Dataset, axis: str, name: str) -> xr.DataArray | None:
    for key, value in tile.coords.items():
        is_called = str(key).lower() in (name, name[:3], name[:4]) or value.attrs.get("standard_name") == name
        if is_called or str(value.attrs.get("units", "")).lower() in _UNITS[axis]:
            return value
    return None


def stack_bands(tile: xr.Dataset, bands: Sequence[Band]) -> tuple[np.ndarray, Layout]:
    """A tile's bands as float32 [row, column, band] in each band's unit, NaN where missing; and the first one's layout.

    InputError where a band is absent, wholly missing, in another unit or on other dimensions than the first.
    """
    name = tile.attrs.get("source") or "the tile"
    for band in bands:
        if band.name not in tile:
            raise InputError(f"{name} has no {band.name} ({band.wavelength:g} um), which the network needs as input")
    layout = find_layout(tile, tile[bands[0].name].dims, name)
    fields = []
    for band in bands:
        field, sizes = layout.upright(tile[band.name]), tile[band.name].sizes
        if field is None:
            longer = [dim for dim in sizes if sizes[dim] > 1 and dim not in (layout.rows, layout.columns)]
            if longer and {layout.rows, layout.columns} <= set(sizes):
                raise InputError(
                    f"{band.name} of {name} has {sizes[longer[0]]} elements along '{longer[0]}'; translate one at a "
                    f"time, such as tile.isel({longer[0]}=0)"
                )
            shapes = ", ".join(f"{band.name} {dict(tile[band.name].sizes)}" for band in bands)
            raise InputError(f"the bands of {name} lie on different grids ({shapes}); read_tile puts them on one")
        fields.append(as_plain(field.data, f"{band.name} of {name}"))
    x = np.stack(fields, axis=-1)
    check_values(x, bands, name, [tile[band.name].attrs.get("units", band.unit) for band in bands])
    return x, layout


def check_values(x: np.ndarray, bands: Sequence[Band], name: str, units: Sequence[str] | None = None) -> None:
    """Refuse an image [..., band] of that name with a band that is wholly missing or cannot be in its unit.

    `units` are those stated, by default as they should be.
    """
    for channel, band in enumerate(bands):
        seen = x[..., channel][np.isfinite(x[..., channel])]
        if not seen.size:
            raise InputError(
                f"{band.name} ({band.wavelength:g} um) of {name} is entirely missing, and the network needs it as input"
                " (a spectral flow goes without it in granules and Scenes; of a tile it fills it, in Python: `repair`)"
            )
        low, high, wanted = _PLAUSIBLE[band.kind]
        unit, is_inside = units[channel] if units else band.unit, low <= seen.min() and seen.max() <= high
        # the median takes long, and lies where all values do
        if unit not in _SAME_UNIT[band.unit] or not (is_inside or low <= np.median(seen) <= high):
            middle = float(np.median(seen))
            raise InputError(f"{band.name} of {name} must be {wanted}; it is in '{unit}' with a median of {middle:.4g}")


def unstack_bands(
    values: np.ndarray,
    missing: np.ndarray,
    tile: xr.Dataset,
    layout: Layout,
    bands: Sequence[Band],
    target: str,
    extras: Extras,
) -> xr.Dataset:
    """Synthesised bands on the grid of the tile they were made from, limited, without reflectance at night.

    `values` are [row, column, band] in each band's unit, NaN where missing; `missing` says where an input band is, bool
    [row, column]. The tile's coordinates are kept; `target` is the satellite that the bands are of.
    """
    zenith, _ = layout.find_angles(tile)
    night = np.zeros(missing.shape, bool) if zenith is None else zenith >= HORIZON
    flags = {"input_missing": missing, "night": night, "limited": np.zeros(missing.shape, bool)}
    variables, is_missing, origins = {}, np.zeros(values.shape, bool), extras.origins or ["inferred"] * len(bands)
    for channel, (band, origin) in enumerate(zip(bands, origins, strict=True)):
        field, limited, is_copied = values[..., [channel]], np.zeros(1, bool), origin == "passed on"
        if not is_copied:
            field, limited = clip_to_valid_range(field, [band])
            flags["limited"] |= limited[..., 0]
        field = field[..., 0].astype(np.float32)
        if band.kind == "reflectance" and not is_copied:
            field[night] = np.nan
        holes = is_missing[..., channel] = np.isnan(field)
        attributes = describe_band(band, target, origin)
        attributes["limited_pixels"] = int(limited.sum())
        variables[band.name] = layout.put_back(field, attributes)
        if extras.std is not None:
            spread = extras.std[..., channel].astype(np.float32)
            spread[holes] = np.nan
            name = f"{band.name}_{extras.std_name}"
            title = NOISE_TITLE if is_copied else extras.std_title
            variables[name] = layout.put_back(spread, describe_std(band, target, title))
            told = "" if extras.extrapolated is None else f" {EXTRAPOLATED_BANDS}"
            variables[band.name].attrs["ancillary_variables"] = f"{name} quality{told}"
        if extras.samples is not None:
            draws = extras.samples[..., channel].astype(np.float32)
            draws[:, holes] = np.nan
            described = {"long_name": _title(band, target, "samples of its distribution"), "units": band.unit}
            variables[f"{band.name}_samples"] = layout.put_back(draws, described, "sample")
    quality = sum(QUALITY_BITS[name] * where.astype(np.int8) for name, where in flags.items())
    variables["quality"] = layout.put_back(quality, QUALITY)
    if extras.extrapolated is not None:
        flagged = flag_extrapolated(extras.extrapolated & ~is_missing, bands)
        variables |= {name: layout.put_back(field, attributes) for name, (field, attributes) in flagged.items()}
    return xr.Dataset(variables).assign_coords(layout.coordinates(tile))


def _title(band: Band, satellite: str, words: str) -> str:
    return f"{get_satellite(satellite).instrument} band {band.number} ({band.wavelength:g} um) {words}"


def describe_std(band: Band, satellite: str, title: str) -> dict[str, Any]:
    """The attributes of a band's standard deviation, which the title is of."""
    return {"long_name": _title(band, satellite, title), "units": band.unit}


def describe_band(band: Band, satellite: str, origin: str = "inferred") -> dict[str, Any]:
    """The attributes of a band of an origin, one of `ORIGINS`: CF's and satpy's, wavelength (um), range."""
    title = _title(band, satellite, f"top of atmosphere {band.kind.replace('_', ' ')}, {ORIGINS[origin]}")
    limits = np.array(band.valid_range, np.float32)
    return band_attributes(satellite, band) | {"long_name": title, "valid_range": limits}
