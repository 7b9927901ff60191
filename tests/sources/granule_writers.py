"""Small Himawari HSD, GK-2A AMI and Meteosat FCI files of a known field, positions by the agencies' own formulas.

Layout: Himawari Standard Data user's guide 1.3, tables 4 and 5 (blocks); CGMS 03, section 4.4.3 (positions from lines
and columns, which JMA and KMA use); GK-2A AMI Level 1B guide.
"""

import bz2
from datetime import datetime, timedelta

import netCDF4
import numpy as np

from satxlate_jax.geometry import solar_position

PLANCK, LIGHT, BOLTZMANN = 6.62606957e-34, 299792458.0, 1.3806488e-23


def temperature(latitude, longitude):
    return 260 + 25 * np.sin(np.radians(latitude * 20)) * np.cos(np.radians(longitude * 15))


def reflectance(latitude, longitude):
    return 0.4 + 0.25 * np.cos(np.radians(latitude * 15)) * np.sin(np.radians(longitude * 20))


def positions(lines, columns, factor, offset, sub_longitude):
    """Latitude and longitude of pixels, 1-based; NaN off the disk."""
    x, y = (np.radians((numbers - offset) * 65536 / factor) for numbers in np.meshgrid(columns, lines))
    shape = np.cos(y) ** 2 + 1.006739501 * np.sin(y) ** 2
    with np.errstate(invalid="ignore"):
        distance = np.sqrt((42164 * np.cos(x) * np.cos(y)) ** 2 - shape * 1737122264)
    near = (42164 * np.cos(x) * np.cos(y) - distance) / shape
    outward, east, north = 42164 - near * np.cos(x) * np.cos(y), near * np.sin(x) * np.cos(y), -near * np.sin(y)
    latitude = np.degrees(np.arctan(1.006739501 * north / np.hypot(outward, east)))
    return latitude, np.degrees(np.arctan2(east, outward)) + sub_longitude


def _block(number, *fields, size=None):
    """A header block: its number, its length, and fields (type, value)."""
    body = b"".join(np.array(value, kind).tobytes() for kind, value in fields)
    length = size or len(body) + 3
    return np.uint8(number).tobytes() + np.array(length, "<u2").tobytes() + body.ljust(length - 3, b"\0")


def write_hsd(folder, band, segment, start, packed=False, lines=550, columns=5500):
    """One of ten 2 km segments: band 5 (reflectance) or 13; its minute begins at its first line."""
    first = (segment - 1) * lines + 1
    latitude, longitude = positions(np.arange(first, first + lines), np.arange(1, columns + 1), 20466275, 2750.5, 140.7)
    begin, minute = start + timedelta(minutes=segment - 1), 60.0
    if band == 5:
        seconds = (np.arange(lines) + 0.5) / lines * minute
        times = np.datetime64(begin, "ns") + (seconds * 1e9).astype("timedelta64[ns]")
        zenith, _ = solar_position(times[:, None], np.nan_to_num(latitude), np.nan_to_num(longitude))
        radiance = reflectance(latitude, longitude) * np.cos(np.radians(zenith.astype(float))) * 100
        gain, wave, last = 0.002, 1.61, [("f8", 0.01), ("f8", 0), ("f8", 0), ("f8", 0), ("S80", b"")]
    else:
        wave = 10.4073
        power = np.expm1(PLANCK * LIGHT / (BOLTZMANN * wave * 1e-6 * temperature(latitude, longitude)))
        radiance = 2e-6 * PLANCK * LIGHT**2 / (wave * 1e-6) ** 5 / power
        gain = 3e-4
        last = [*(("f8", number) for number in (0, 1, 0, 0, 1, 0, LIGHT, PLANCK, BOLTZMANN)), ("S40", b"")]
    counts = np.where(np.isfinite(radiance), np.rint(np.nan_to_num(radiance) / gain), 65534).astype("<u2")
    days = [(moment - datetime(1858, 11, 17)) / timedelta(days=1) for moment in (begin, begin + timedelta(minutes=1))]
    name = f"HS_H08_{start:%Y%m%d_%H%M}_B{band:02d}_FLDK_R20_S{segment:02d}10.DAT"
    texts = [
        ("<u2", 11),
        ("u1", 0),
        ("S16", b"Himawari-8"),
        ("S16", b"MSC"),
        ("S4", b"FLDK"),
        ("S2", b"RT"),
        ("<u2", start.hour * 100 + start.minute),
    ]
    sizes = [("f8", days[0]), ("f8", days[1]), ("f8", days[1]), ("<u4", 0), ("<u4", 0), ("u1", [0] * 4)]
    ellipsoid = [("f8", value) for value in (42164, 6378.137, 6356.7523, 0.00669438444, 0.993305616, 1.006739501)]
    projection = [("f8", 140.7), ("<u4", [20466275] * 2), ("f4", [2750.5] * 2), *ellipsoid, ("f8", 1737122264)]
    looking = [("f8", [days[0], 140.7, 0, 42164, 140.7, 0, *[0] * 6]), ("S40", b"")]
    calibration = [("<u2", band), ("f8", wave), ("<u2", [14, 65535, 65534]), ("f8", [gain, 0]), *last]
    blocks = [
        _block(1, *texts, *sizes, ("S32", b"1.3"), ("S128", name.encode()), ("S40", b"")),
        _block(2, ("<u2", [16, columns, lines]), ("u1", 0), ("S40", b"")),
        _block(3, *projection, ("<i2", [0, 0]), ("S40", b"")),
        _block(4, *looking),
        _block(5, *calibration),
        _block(6, ("f8", [0] * 8), ("f4", [0] * 2), ("S128", b""), ("S56", b"")),
        _block(7, ("u1", [10, segment]), ("<u2", first), ("S40", b"")),
        _block(8, ("f4", [0, 0]), ("f8", 0), ("<u2", 0), ("S40", b"")),
        _block(9, ("<u2", 0), ("S40", b"")),
        np.uint8(10).tobytes() + np.array(47, "<u4").tobytes() + bytes(42),
        _block(11, ("S256", b"")),
    ]
    content = b"".join(blocks) + counts.tobytes()
    path = folder / (name + (".bz2" if packed else ""))
    path.write_bytes(bz2.compress(content, 1) if packed else content)


def write_ami(folder, start, lines, columns):
    """Band 13 (IR105) of part of the disk: lines and columns of the full disk of 2 km, 1-based."""
    factor, offset = 20425338.9, 2750.5
    rows, side = slice(lines[0] - 1, lines[-1]), slice(columns[0] - 1, columns[-1])
    latitude, longitude = positions(np.array(lines), np.array(columns), factor, offset, 128.2)
    wave_number = 1 / 10.35e-6  # 1/m, as satpy has the band
    exponent = PLANCK * LIGHT * wave_number / (BOLTZMANN * temperature(latitude, longitude))
    radiance = 2 * PLANCK * LIGHT**2 * wave_number**3 / np.expm1(exponent) * 1e5  # mW m-2 sr-1 (1/cm)-1
    gain, intercept = -0.0145, 200.0
    seconds = (start - datetime(2000, 1, 1, 12)).total_seconds()
    with netCDF4.Dataset(folder / f"gk2a_ami_le1b_ir105_fd020ge_{start:%Y%m%d%H%M}.nc", "w") as file:
        file.createDimension("dim_image_y", 5500)
        file.createDimension("dim_image_x", 5500)
        values = file.createVariable("image_pixel_values", "u2", ("dim_image_y", "dim_image_x"), zlib=True, complevel=1)
        values.set_auto_maskandscale(False)
        values.setncatts({"number_of_valid_bits_per_pixel": np.uint8(14), "channel_name": "IR105"})
        counts = np.rint((radiance - intercept) / gain)
        assert counts.min() >= 0 and counts.max() < 2**14
        whole = np.full((5500, 5500), 0b1000000000000000, np.uint16)  # outside the viewing area, by KMA's flag
        whole[rows, side] = counts.astype(np.uint16)
        whole[lines[150], columns[150]] |= 0b1100000000000000  # an error
        values[:] = whole
        place = file.createVariable("sc_position", "i4", ())
        place.sc_position_center_pixel = 42164000 * np.array([np.cos(np.radians(128.2)), np.sin(np.radians(128.2)), 0])
        file.setncatts(
            {
                "satellite_name": "GK-2A",
                "observation_mode": "FD",
                "channel_spatial_resolution": "2.0",
                "earth_equatorial_radius": 6378137.0,
                "earth_polar_radius": 6356752.3,
                "nominal_satellite_height": 42164000.0,
                "sub_longitude": np.radians(128.2),
                "number_of_columns": 5500,
                "number_of_lines": 5500,
                "cfac": factor,
                "lfac": -factor,
                "coff": offset,
                "loff": offset,
                "observation_start_time": seconds,
                "observation_end_time": seconds + 300,
                "DN_to_Radiance_Gain": gain,
                "DN_to_Radiance_Offset": intercept,
            }
        )


def write_fci(folder, start, chunk, rows, side=5568):
    """One of forty chunks of a repeat cycle: ir_105 of 2 km; rows (1-based) go from the south."""
    step = 5.58871526031607e-05  # radians; x is positive to the west
    x, y = ((2784.5 - np.arange(1, side + 1)) * step, (np.array(rows) - 2784.5) * step)
    latitude, longitude = mtg_positions(x, y)
    wave_number, c1, c2 = 952.4, 1.19104273e-5, 1.43877523
    radiance = c1 * wave_number**3 / np.expm1(c2 * wave_number / temperature(latitude, longitude))
    begin = start + timedelta(seconds=14 * (chunk - 1))
    times = "_".join(f"{moment:%Y%m%d%H%M%S}" for moment in (begin, begin, begin + timedelta(seconds=14)))
    cycle = (start.hour * 60 + start.minute) // 10 + 1
    first, _, rest = times.partition("_")
    name = (
        "W_XX-EUMETSAT-Darmstadt,IMG+SAT,MTI1+FCI-1C-RRAD-FDHSI-FD--CHK-BODY--DIS-NC4E_C_EUMT_"
        f"{first}_IDPFI_OPE_{rest}_N__O_{cycle:04d}_{chunk:04d}.nc"
    )
    with netCDF4.Dataset(folder / name, "w") as file:
        file.platform = "MTI1"
        measured = {
            "radiance_to_bt_conversion_coefficient_wavenumber": wave_number,
            "radiance_to_bt_conversion_coefficient_a": 1.0,
            "radiance_to_bt_conversion_coefficient_b": 0.0,
            "radiance_to_bt_conversion_constant_c1": c1,
            "radiance_to_bt_conversion_constant_c2": c2,
            "radiance_unit_conversion_coefficient": 1.0,
            "channel_effective_solar_irradiance": 1.0,
            "start_position_row": rows[0],
            "end_position_row": rows[-1],
        }
        names = "vis_04 vis_05 vis_06 vis_08 vis_09 nir_13 nir_16 nir_22".split()
        names += "ir_38 wv_63 wv_73 ir_87 ir_97 ir_105 ir_123 ir_133".split()
        scalars = {f"data/{name}/measured/{key}": value for name in names for key, value in measured.items()} | {
            "state/platform/subsatellite_latitude": 0.0,
            "state/platform/subsatellite_longitude": 0.0,
            "state/platform/platform_altitude": 35786400.0,
            "state/celestial/earth_sun_distance": 149597870.7,
            "state/celestial/subsolar_latitude": 0.0,
            "state/celestial/subsolar_longitude": 0.0,
            "state/celestial/sun_satellite_distance": 149597870.7,
            "data/swath_direction": 0,
            "data/swath_number": 0,
            "time": 0.0,
        }
        file.createDimension("index", 1)
        file.createVariable("index", "u2", ("index",))[:] = 1
        for path, value in scalars.items():
            dimensions = ("index",) if path.startswith("state") else ()
            file.createVariable(path, "i4" if isinstance(value, int) else "f8", dimensions)[...] = value
        projection = file.createVariable("data/mtg_geos_projection", "i4", ())
        projection.setncatts({"semi_major_axis": 6378137.0, "inverse_flattening": 298.257223563})
        projection.setncatts({"perspective_point_height": 35786400.0, "longitude_of_projection_origin": 0.0})
        projection.sweep_angle_axis = "y"
        for name in names:
            _fci_channel(file[f"data/{name}/measured"], x, y, step, radiance if name == "ir_105" else None)


def _fci_channel(group, x, y, step, radiance):
    """The variables of a channel; without a radiance they hold nothing."""
    for axis, numbers, scale in (("y", y, step), ("x", x, -step)):
        group.createDimension(axis, len(numbers))
        made = group.createVariable(axis, "u2", (axis,))
        made.set_auto_maskandscale(False)
        made.setncatts({"scale_factor": scale, "add_offset": numbers[0] - scale})
        made[:] = np.arange(1, len(numbers) + 1)
    gain = 0.0025
    made = group.createVariable("effective_radiance", "u2", ("y", "x"), fill_value=65535, zlib=True, complevel=1)
    made.set_auto_maskandscale(False)
    made.setncatts({"scale_factor": gain, "add_offset": 0.0, "units": "mW.m-2.sr-1.(cm-1)-1"})
    made.setncatts({"warm_scale_factor": gain, "warm_add_offset": 0.0})
    made.setncatts({"long_name": "radiance", "ancillary_variables": "pixel_quality"})
    made.valid_range = np.array([0, 65534], np.uint16)
    for name, kind in (("pixel_quality", "u1"), ("index_map", "u2")):
        group.createVariable(name, kind, ("y", "x"), zlib=True, complevel=1)
    if radiance is not None:
        made[:] = np.where(np.isfinite(radiance), np.rint(np.nan_to_num(radiance) / gain), 65535).astype(np.uint16)


def mtg_positions(x, y):
    """Latitude and longitude of scanning angles (x west, y north), MTG FCI L1c guide; NaN off the disk."""
    radius, height = 6378.137, 42164.537
    polar = radius * (1 - 1 / 298.257223563)
    x, y = np.meshgrid(-x, y)
    shape = np.cos(y) ** 2 + (radius / polar) ** 2 * np.sin(y) ** 2
    along = height * np.cos(x) * np.cos(y)
    with np.errstate(invalid="ignore"):
        near = (along - np.sqrt(along**2 - shape * (height**2 - radius**2))) / shape
    outward, east, north = height - near * np.cos(x) * np.cos(y), near * np.sin(x) * np.cos(y), near * np.sin(y)
    latitude = np.arctan((radius / polar) ** 2 * north / np.hypot(outward, east))
    return np.degrees(latitude), np.degrees(np.arctan2(east, outward))
