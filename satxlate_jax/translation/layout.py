"""How a tile lies in its arrays: which dimensions are rows and columns, found by name or CF attributes, and put back.

Source: NetCDF Climate and Forecast Metadata Conventions 1.8, sections 4.1, 4.2 (units, standard names), 4 (axis).
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from satxlate_jax.cli import InputError

# axis of CF -> what a dimension or its coordinate may be called, in lower case, and what attributes may say
_NAMES = {
    "Y": {"lat", "latitude", "y", "rlat", "row", "rows", "line", "lines", "nj"},
    "X": {"lon", "longitude", "long", "x", "rlon", "column", "columns", "col", "cols", "pixel", "pixels", "ni"},
}
_STANDARD_NAMES = {
    "Y": {"latitude", "grid_latitude", "projection_y_coordinate", "projection_y_angular_coordinate"},
    "X": {"longitude", "grid_longitude", "projection_x_coordinate", "projection_x_angular_coordinate"},
}
_UNITS = {
    "Y": {"degrees_north", "degree_north", "degrees_n", "degree_n", "degreesn", "degreen"},
    "X": {"degrees_east", "degree_east", "degrees_e", "degree_e", "degreese", "degreee"},
}


def unmask(values: Any) -> np.ndarray:
    """The array itself, or of a masked one a plain copy, NaN where it is masked, of its own type if that has NaN."""
    if not isinstance(values, np.ma.MaskedArray):
        return np.asarray(values)
    dtype = values.dtype if values.dtype.kind == "f" else np.float32
    return np.where(np.ma.getmaskarray(values), np.nan, values.data).astype(dtype)


def as_plain(values: Any, name: str) -> np.ndarray:
    """Numbers of any kind of array (numpy, masked, jax, dask) as float32, NaN where masked.

    Args:
      values: the array.
      name: what to call it in a message.

    Raises:
      InputError: it holds no real numbers.
    """
    if hasattr(values, "compute"):  # dask: numpy would take its numbers without their masks
        values = values.compute()
    plain = unmask(values)
    if not (jnp.issubdtype(plain.dtype, np.floating) or jnp.issubdtype(plain.dtype, np.integer)):
        raise InputError(f"{name} holds {plain.dtype}; it must hold real numbers, reflectances or temperatures in K")
    with np.errstate(over="ignore"):  # what float32 cannot hold is no measurement, and infinite is missing
        return plain.astype(np.float32)


@dataclass(frozen=True)
class Layout:
    """The dimensions of a tile's bands.

    Attributes:
      dims: all, in their order; those beside rows and columns have one element.
      rows: the dimension along which latitude changes.
      columns: the one along which longitude changes.
    """

    dims: tuple[Hashable, ...]
    rows: Hashable
    columns: Hashable

    def fits(self, variable: xr.DataArray) -> bool:
        """Whether a variable lies on the rows and columns, in whatever order, and on no other with more elements."""
        others = set(variable.dims) - {self.rows, self.columns}
        return {self.rows, self.columns} <= set(variable.dims) and all(variable.sizes[dim] == 1 for dim in others)

    def upright(self, variable: xr.DataArray) -> xr.DataArray:
        """A variable that fits, as [row, column]."""
        others = {dim: 0 for dim in variable.dims if dim not in (self.rows, self.columns)}
        return variable.isel(others, drop=True).transpose(self.rows, self.columns)

    def put_back(self, field: np.ndarray) -> tuple[tuple[Hashable, ...], np.ndarray]:
        """The dimensions as they were, and a field [row, column] in their order."""
        field = field if self.dims.index(self.rows) < self.dims.index(self.columns) else field.T
        others = [place for place, dim in enumerate(self.dims) if dim not in (self.rows, self.columns)]
        return self.dims, np.expand_dims(field, others)

    def coordinates(self, tile: xr.Dataset) -> dict[Hashable, xr.Variable]:
        """The tile's coordinates that still hold: all, but of dimensions that its bands do not have."""
        return {name: value.variable for name, value in tile.coords.items() if set(value.dims) <= set(self.dims)}

    def where_and_when(self, tile: xr.Dataset) -> xr.Dataset:
        """Solar zenith, latitude, longitude and time of a tile, as far as it has them, named and laid out as L1G's.

        Latitude and longitude are (lat) and (lon), or both (y, x) where they vary along rows and columns.

        Raises:
          InputError: the solar zenith angles lie on another grid.
        """
        found: dict[str, tuple] = {}
        if "solar_zenith" in tile:
            if not self.fits(tile["solar_zenith"]):
                raise InputError(
                    f"solar_zenith is {tile['solar_zenith'].dims}, the bands are {self.dims}; put it on them"
                )
            values = as_plain(self.upright(tile["solar_zenith"]).data, "solar_zenith")
            found["solar_zenith"] = (("y", "x"), values)
        known = xr.Dataset(found)
        latitude, longitude = (_find_place(tile, axis) for axis in ("Y", "X"))
        if latitude is not None and longitude is not None:
            if self.fits(latitude) and self.fits(longitude):
                both = {"lat": latitude, "lon": longitude}
                known = known.assign_coords({n: (("y", "x"), self.upright(value).values) for n, value in both.items()})
            elif latitude.dims == (self.rows,) and longitude.dims == (self.columns,):
                known = known.rename({dim: name for dim, name in (("y", "lat"), ("x", "lon")) if dim in known.dims})
                known = known.assign_coords(lat=("lat", latitude.values), lon=("lon", longitude.values))
        if "time" in tile.coords and tile["time"].size == 1:
            known = known.assign_coords(time=tile["time"].values.reshape(()))
        return known


def find_layout(tile: xr.Dataset | xr.DataArray, dims: Iterable[Hashable], name: str) -> Layout:
    """Which of some dimensions are rows and columns.

    Args:
      tile: whose coordinates may say so.
      dims: to look among.
      name: what to call it in a message.

    Raises:
      InputError: neither names nor attributes say, or they contradict each other.
    """
    dims = tuple(dims)
    found: dict[str, list[Hashable]] = {"Y": [], "X": []}
    for dim in dims:
        axes = _axes(tile, dim)
        if len(axes) > 1:
            raise InputError(f"dimension '{dim}' of {name} is called or described as both rows and columns; mend that")
        for axis in axes:
            found[axis].append(dim)
    if len(found["Y"]) != 1 or len(found["X"]) != 1:
        raise InputError(
            f"cannot tell rows from columns among the dimensions of {name} ({', '.join(map(str, dims)) or 'none'}); "
            "call them lat and lon or y and x, or give their coordinates CF's axis, standard_name or units"
        )
    return Layout(dims, found["Y"][0], found["X"][0])


def _axes(tile: xr.Dataset | xr.DataArray, dim: Hashable) -> set[str]:
    """What a dimension's name and its own coordinate say it is; where they say nothing, its other coordinates."""
    own = _called(dim) | (_described(tile.coords[dim].attrs) if dim in tile.coords else set())
    if own:
        return own
    others = [(name, value.attrs) for name, value in tile.coords.items() if value.dims == (dim,)]
    return {axis for name, attrs in others for axis in _called(name) | _described(attrs)}


def _called(name: Hashable) -> set[str]:
    return {axis for axis, names in _NAMES.items() if str(name).lower() in names}


def _described(attrs: dict) -> set[str]:
    """The axes that CF attributes say."""
    axis, name, unit = (str(attrs.get(key, "")).strip() for key in ("axis", "standard_name", "units"))
    return {
        key for key in ("Y", "X") if axis.upper() == key or name in _STANDARD_NAMES[key] or unit.lower() in _UNITS[key]
    }


def _find_place(tile: xr.Dataset, axis: str) -> xr.DataArray | None:
    """A tile's latitude ('Y') or longitude ('X'), by name or CF attributes."""
    name, others = {"Y": ("latitude", ("lat",)), "X": ("longitude", ("lon", "long"))}[axis]
    candidates = [
        value
        for key, value in tile.coords.items()
        if str(key).lower() in (name, *others)
        or value.attrs.get("standard_name") == name
        or str(value.attrs.get("units", "")).lower() in _UNITS[axis]
    ]
    return candidates[0] if candidates else None
