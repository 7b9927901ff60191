"""read_tile and write_tile against files written with pyhdf alone, formulas and the release's numbers."""

import bz2
import gzip
import os
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from pyhdf.SD import SD, SDC

from satxlate_jax import read_tile, write_tile
from satxlate_jax.cli import InputError
from satxlate_jax.instruments import get_satellite
from satxlate_jax.l1g.reader import L1GError, MissingBandWarning
from satxlate_jax.l1g.tile import make_tile

NAME = "GO16_ABI05_20190201_1230_GLBG_h09v03_02.hdf"
TYPES = {"uint16": SDC.UINT16, "int16": SDC.INT16, "float32": SDC.FLOAT32}
NO_SUCH_FILL = 65000


def write_hdf(path, data_sets):
    """name -> (array, Scale_Factor, Offset_Constant, (_FillValue's type, value) or None); scale None: no attributes."""
    file = SD(str(path), SDC.WRITE | SDC.CREATE | SDC.TRUNC)
    for name, (array, scale, offset, fill) in data_sets.items():
        data_set = file.create(name, TYPES[array.dtype.name], array.shape)
        if scale is not None:
            data_set.attr("Scale_Factor").set(SDC.FLOAT64, scale)
            data_set.attr("Offset_Constant").set(SDC.FLOAT64, offset)
        if fill is not None:
            data_set.attr("_FillValue").set(*fill)
        data_set.setcompress(SDC.COMP_DEFLATE, 1)
        data_set.set(array)
        data_set.endaccess()
    file.end()
    return path


def random_numbers(size, seed=0, dtype="uint16"):
    return np.random.default_rng(seed).integers(2000, 30000, (size, size)).astype(dtype)


def block_mean(values, factor):
    """The area mean the slow way, NaN left out."""
    size = len(values) // factor
    blocks = values.reshape(size, factor, size, factor).transpose(0, 2, 1, 3).reshape(size, size, -1)
    count = np.isfinite(blocks).sum(-1)
    return np.where(count > 0, np.nansum(blocks, axis=-1) / np.maximum(count, 1), np.nan)


@pytest.fixture
def small_tile():
    """One reflectance and two temperature bands of a GOES-16 tile, with gaps and solar angles."""
    random = np.random.default_rng(3)
    bands = [get_satellite("G16").band(number) for number in (3, 7, 13)]
    arrays = {band.name: random.uniform(*band.valid_range, (300, 300)).astype(np.float32) for band in bands}
    arrays["BAND13"][40:60, 10:90] = np.nan
    arrays["BAND03"][0, 0] = 0.0
    arrays["solar_zenith"] = random.uniform(0, 180, (300, 300)).astype(np.float32)
    arrays["solar_azimuth"] = random.uniform(0, 359.9, (300, 300)).astype(np.float32)
    return make_tile("G16", "h09v03", datetime(2019, 2, 1, 12, 30), bands, arrays, 300)


def test_units_coordinates_and_attributes(tmp_path):
    numbers = random_numbers(300)
    path = write_hdf(
        tmp_path / NAME, {"BAND04": (numbers, 1e-4, 0.0, (SDC.UINT16, 32768)), "BAND07": (numbers, 0.01, 100.0, None)}
    )
    tile = read_tile(path, bands=[7, 4])
    assert list(tile.data_vars) == ["BAND07", "BAND04"]
    np.testing.assert_allclose(tile.BAND07, numbers * 0.01 + 100.0, rtol=2e-7)
    np.testing.assert_allclose(tile.BAND04, numbers * 1e-4, rtol=2e-7)
    assert tile.BAND07.dtype == np.float32 and tile.BAND07.dims == ("lat", "lon")
    assert (tile.BAND07.attrs["units"], tile.BAND04.attrs["units"]) == ("K", "1")
    assert tile.BAND07.attrs["wavelength"] == 3.9 and tile.BAND07.attrs["wavelength_units"] == "um"
    assert tuple(tile.BAND07.attrs["valid_range"]) == (150.0, 420.0) and "3.9" in tile.BAND07.attrs["long_name"]
    assert (tile.BAND07.standard_name, tile.BAND04.standard_name) == (
        "toa_brightness_temperature",
        "toa_bidirectional_reflectance",
    )
    platform = {"platform_name": "GOES-16", "sensor": "abi"}
    assert tile.attrs == {"satellite": "G16", "tile": "h09v03", "source": NAME} | platform
    assert platform.items() <= tile.BAND07.attrs.items()
    assert tile.time.values == np.datetime64("2019-02-01T12:30", "ns")
    np.testing.assert_allclose(tile.lat, 41.99 - 0.02 * np.arange(300), atol=1e-9)
    np.testing.assert_allclose(tile.lon, -125.99 + 0.02 * np.arange(300), atol=1e-9)


@pytest.mark.parametrize("size", [600, 1200])
@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_area_mean_over_valid_pixels(tmp_path, size, dtype):
    numbers = random_numbers(size, dtype=dtype)
    gaps = np.random.default_rng(1).random((size, size)) < 0.4
    gaps[:20, :20] = True
    numbers[gaps] = 32768 if dtype == "uint16" else -32768
    path = write_hdf(tmp_path / NAME, {"BAND02": (numbers, 1e-4, 0.5, (TYPES[dtype], NO_SUCH_FILL % 32768))})
    expected = block_mean(np.where(gaps, np.nan, numbers * 1e-4 + 0.5), size // 300)
    np.testing.assert_allclose(read_tile(path, bands=[2]).BAND02, expected, rtol=1e-6)
    whole = write_hdf(tmp_path / NAME, {"BAND02": (random_numbers(size), 1e-4, 0.0, None)})
    expected = block_mean(random_numbers(size) * 1e-4, size // 300)
    np.testing.assert_allclose(read_tile(whole, bands=[2]).BAND02, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "standard", "declared"),
    [
        ("uint16", 32768, (SDC.UINT16, 77)),
        ("uint16", 32768, (SDC.FLOAT64, 77.0)),
        ("uint16", 32768, (SDC.INT32, -9999)),
        ("int16", -32768, (SDC.INT16, 77)),
        ("int16", -32768, (SDC.INT32, 32768)),
        ("int16", -32768, None),
    ],
)
def test_the_products_fill_and_the_declared_one_are_missing(tmp_path, dtype, standard, declared):
    numbers = random_numbers(300, dtype=dtype)
    numbers[5, 5:9] = standard
    numbers[7, 7] = 77
    path = write_hdf(tmp_path / NAME, {"BAND08": (numbers, 0.01, 125.0, declared)})
    missing = np.zeros((300, 300), bool)
    missing[5, 5:9] = True
    missing[7, 7] = declared is not None and declared[1] == 77
    np.testing.assert_array_equal(np.isnan(read_tile(path, bands=[8]).BAND08), missing)


def test_bilinear_equals_the_release_but_for_its_zero_border(fixtures_dir, tmp_path):
    with np.load(fixtures_dir / "l1g_zoom.npz") as arrays:
        raw = {1: "raw600", 2: "raw1200", 3: "raw300", 4: "raw600_uint16_fill", 8: "raw600"}
        data_sets, sizes = {}, {}
        for index, number in enumerate(arrays["bands"]):
            if number in raw:
                numbers = arrays[raw[number]]
                scale, offset = arrays["scale"][index], arrays["offset"][index]
                data_sets[f"BAND{number:02d}"] = (numbers, float(scale), float(offset), None)
                sizes[number] = (index, numbers, scale, offset)
        tile = read_tile(write_hdf(tmp_path / NAME, data_sets), resampling="bilinear", bands=sorted(raw))
        for number, (index, numbers, scale, offset) in sizes.items():
            values, released = tile[f"BAND{number:02d}"].values, arrays["out"][..., index]
            inner = slice(0, -1 if len(numbers) == 600 else None)
            np.testing.assert_allclose(values[inner, inner], released[inner, inner], rtol=2e-7, atol=1e-8)
            np.testing.assert_allclose(values, corner_aligned(numbers, scale, offset), rtol=2e-7, atol=1e-8)


def corner_aligned(numbers, scale, offset, size=300):
    """Bilinear at i * (n - 1) / (size - 1), pixel by pixel along each axis."""
    values = np.where(numbers == 32768, np.nan, numbers * float(scale) + float(offset))
    for _ in range(2):
        rows = []
        for i in range(size):
            whole, rest = divmod(i * (len(values) - 1), size - 1)
            rows.append(
                values[whole]
                if rest == 0
                else values[whole] * (1 - rest / (size - 1)) + values[whole + 1] * (rest / (size - 1))
            )
        values = np.array(rows).T
    return values


@pytest.mark.parametrize("resampling", ["area", "bilinear"])
def test_finer_grids(tmp_path, resampling):
    coarse, fine = random_numbers(300), random_numbers(1200, seed=1)
    path = write_hdf(tmp_path / NAME, {"BAND02": (fine, 1e-4, 0.0, None), "BAND13": (coarse, 0.01, 100.0, None)})
    for resolution, size in ((1.0, 600), (0.5, 1200)):
        tile = read_tile(path, resolution, resampling=resampling, bands=[2, 13])
        assert tile.BAND13.shape == tile.BAND02.shape == (size, size) and len(tile.lat) == size
        if resampling == "area":
            expected = np.kron(coarse, np.ones((size // 300, size // 300))) * 0.01 + 100
            np.testing.assert_allclose(tile.BAND13, expected, rtol=2e-7)
            np.testing.assert_allclose(tile.BAND02, block_mean(fine * 1e-4, 1200 // size), rtol=1e-6)
        else:
            np.testing.assert_allclose(tile.BAND13, corner_aligned(coarse, 0.01, 100.0, size), rtol=2e-7)
            np.testing.assert_allclose(tile.BAND02, corner_aligned(fine, 1e-4, 0.0, size), rtol=2e-7, atol=1e-8)


def test_early_himawari_names(tmp_path):
    numbers = random_numbers(600)
    path = tmp_path / "HM08_AHI05_20160101_0000_GLBG_h50v05_02.hdf"
    write_hdf(path, {"AHI_B02": (numbers, 1e-4, 0.0, None)})
    tile = read_tile(path, bands=[2])
    np.testing.assert_allclose(tile.BAND02, block_mean(numbers * 1e-4, 2), rtol=1e-6)
    assert (tile.satellite, tile.platform_name, tile.sensor) == ("H8", "Himawari-8", "ahi")
    assert tile.BAND02.attrs["wavelength"] == 0.51


def test_absent_band_is_missing_with_a_warning(tmp_path):
    path = write_hdf(tmp_path / NAME, {"BAND08": (random_numbers(300), 0.01, 100.0, None)})
    with pytest.warns(MissingBandWarning, match="BAND09") as warned:
        tile = read_tile(path, bands=[8, 9])
    assert len(warned) == 1 and NAME in str(warned[0].message)
    assert np.isnan(tile.BAND09).all() and tile.BAND09.shape == (300, 300) and tile.BAND09.attrs["units"] == "K"
    assert not np.isnan(tile.BAND08).any()
    with pytest.warns(MissingBandWarning):
        assert len([name for name in read_tile(path).data_vars if name.startswith("BAND")]) == 16


@pytest.mark.parametrize("shape", [(300, 300), (60, 60), (150, 100), (600, 600), (1, 1)])
def test_solar_angles_of_other_sizes(tmp_path, shape):
    def plane(height, width):
        y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
        return 40 + 20 * y[:, None] + 10 * x

    zenith = np.rint(plane(*shape) * 100).astype(np.int16)
    azimuth = np.rint(np.mod(plane(*shape) + 305, 360) * 100).astype(np.uint16)  # through 360 within the tile
    path = write_hdf(
        tmp_path / NAME,
        {
            "BAND08": (random_numbers(300), 0.01, 100.0, None),
            "Solar_Zenith": (zenith, None, None, None),
            "Solar_Azimuth": (azimuth, None, None, None),
        },
    )
    tile = read_tile(path, bands=[8])
    expected = plane(300, 300) if shape != (1, 1) else np.full((300, 300), plane(1, 1)[0, 0])
    np.testing.assert_allclose(tile.solar_zenith, expected, atol=0.02)
    difference = np.mod(tile.solar_azimuth - (expected + 305) + 180, 360) - 180
    np.testing.assert_allclose(difference, 0, atol=0.02)
    assert tile.solar_azimuth.values.min() >= 0 and tile.solar_azimuth.values.max() < 360
    assert tile.solar_zenith.dtype == np.float32 and tile.solar_zenith.attrs["units"] == "degree"


def expect_one_line(path, *words):
    with pytest.raises(L1GError) as error:
        read_tile(path)
    message = str(error.value)
    assert "\n" not in message and Path(path).name in message
    assert any(word in message for word in words), message
    return message


def test_paths_that_are_no_l1g_file(tmp_path):
    expect_one_line(tmp_path / "absent" / NAME, "does not exist")
    (tmp_path / "folder.hdf").mkdir()
    expect_one_line(tmp_path / "folder.hdf", "folder")
    (tmp_path / NAME).touch()
    expect_one_line(tmp_path / NAME, "empty")
    (tmp_path / NAME).write_bytes(b"hello, this is no HDF4 file\n" * 100)
    expect_one_line(tmp_path / NAME, "not an HDF4 file but text")
    os.mkfifo(tmp_path / "pipe.hdf")
    expect_one_line(tmp_path / "pipe.hdf", "not a regular file")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html>\n<html><title>Earthdata Login</title></html>", "an HTML page; .*log.* in"),
        (b"\xef\xbb\xbf \r\n<HTML lang='en'>", "an HTML page"),
        (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN">', "an HTML page"),
        (b"<!-- saved -->\n<html>", "an HTML page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML; .*server"),
        (gzip.compress(b"\x0e\x03\x13\x01" * 99, mtime=0), "gzip.*unpack"),
        (bz2.compress(b"x"), "bzip2.*unpack"),
        (b"PK\x03\x04" + bytes(50), "zip.*unpack"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "netCDF-4 or HDF5"),
        (b"CDF\x01" + bytes(100), "netCDF-3"),
        (b"CDF\x05" + bytes(100), "netCDF-3"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1", "Git LFS"),
        (b"{'error': 404}\n", "text; it begins with"),
        ("größer als\n".encode(), "text; it begins with 'größer als'"),
        (bytes(1000), "nothing but zero bytes"),
        (b"\x00\x01\xfe\xff" * 20, "not an HDF4 file, and of no kind"),
        (b"\x0e\x03", "cut short"),
    ],
)
def test_what_is_no_hdf4_file_is_told_what_it_is(tmp_path, content, words):
    (tmp_path / NAME).write_bytes(content)
    message = expect_one_line(tmp_path / NAME, "HDF4", "cut short", "zero bytes")
    assert re.search(words, message), message


def test_a_translation_given_as_a_tile_is_told_what_it_is(tmp_path):
    xr.Dataset({"BAND07": ("x", [1.0])}).to_netcdf(tmp_path / NAME, engine="netcdf4")
    expect_one_line(tmp_path / NAME, "netCDF-4 or HDF5")


def test_file_without_permission(tmp_path, small_tile, unprivileged):
    write_tile(small_tile, tmp_path / NAME)
    (tmp_path / NAME).chmod(0)
    with unprivileged():
        expect_one_line(tmp_path / NAME, "permission")


def test_another_product(realdata_dir, tmp_path):
    (path,) = (realdata_dir / "other_hdf4").glob("*.hdf")
    expect_one_line(path, "BAND01")
    renamed = tmp_path / NAME
    renamed.symlink_to(path)
    expect_one_line(renamed, "BAND01")


def test_renamed_file(tmp_path, small_tile):
    hdf = write_hdf(tmp_path / "renamed.hdf", {"BAND08": (random_numbers(300), 0.01, 100.0, None)})
    expect_one_line(hdf, "not named")
    write_tile(small_tile, tmp_path / "mine.hdf")  # which says itself what it is
    assert read_tile(tmp_path / "mine.hdf", bands=[7]).attrs["tile"] == "h09v03"


@pytest.mark.parametrize(
    ("data_set", "word"),
    [
        ((random_numbers(100), 0.01, 100.0, None), "100 x 100"),
        ((random_numbers(300)[:200], 0.01, 100.0, None), "200 x 300"),
        ((random_numbers(300)[0], 0.01, 100.0, None), "300"),
        ((random_numbers(300).astype(np.float32), 0.01, 100.0, None), "16-bit"),
        ((random_numbers(300), None, None, None), "Scale_Factor"),
        ((random_numbers(300), 0.0, 100.0, None), "Scale_Factor"),
        ((random_numbers(300), 0.01, np.nan, None), "Offset_Constant"),
    ],
)
def test_bands_that_are_not_as_l1g_has_them(tmp_path, data_set, word):
    message = expect_one_line(write_hdf(tmp_path / NAME, {"BAND08": data_set}), word)
    assert "BAND08" in message


def test_truncated_files(tmp_path, small_tile):
    write_tile(small_tile, tmp_path / NAME)
    content = (tmp_path / NAME).read_bytes()
    path = tmp_path / "cut" / NAME
    path.parent.mkdir()
    for fraction in (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.9999):
        path.write_bytes(content[: int(fraction * len(content))])
        assert "fetch it again" in expect_one_line(path, "cut short")
    path.write_bytes(content[:-2])  # the last byte of all is padding
    assert "fetch it again" in expect_one_line(path, "cut short")
    path.write_bytes(content[:4])
    assert "fetch it again" in expect_one_line(path, "cut short")


@pytest.mark.parametrize("mistake", [{"resolution_km": 3.0}, {"resampling": "cubic"}, {"bands": [17]}, {"bands": [0]}])
def test_wrong_options(tmp_path, small_tile, mistake):
    write_tile(small_tile, tmp_path / NAME)
    with pytest.raises(InputError):
        read_tile(tmp_path / NAME, **mistake)


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_round_trip_to_half_a_step(tmp_path, small_tile, dtype):
    write_tile(small_tile, tmp_path / "new" / "folder" / NAME, dtype=dtype)
    assert os.listdir(tmp_path / "new" / "folder") == [NAME]
    tile = read_tile(tmp_path / "new" / "folder" / NAME, bands=[3, 7, 13])
    for name, step in (("BAND03", 1e-4), ("BAND07", 0.01), ("BAND13", 0.01), ("solar_zenith", 0.01)):
        np.testing.assert_allclose(tile[name], small_tile[name], rtol=2e-7, atol=step / 2)
    np.testing.assert_allclose(tile.solar_azimuth, small_tile.solar_azimuth, rtol=2e-7, atol=0.005)
    assert tile.BAND03[0, 0] == 0  # an exact 0 is a value
    xr.testing.assert_equal(tile.coords.to_dataset(), small_tile.coords.to_dataset())


@pytest.mark.parametrize(
    ("dtype", "smallest", "largest", "fill"), [("uint16", 0, 65535, 32768), ("int16", -32767, 32767, -32768)]
)
def test_what_the_integers_cannot_hold_becomes_the_nearest(tmp_path, small_tile, dtype, smallest, largest, fill):
    small_tile.BAND07[0, :3] = [-500, 5000, np.inf]
    small_tile.BAND07[0, 3] = 100 + 327.68  # would be the fill value
    write_tile(small_tile, tmp_path / NAME, dtype=dtype)
    file = SD(str(tmp_path / NAME), SDC.READ)
    numbers = np.asarray(file.select("BAND07").get())[0, :4].astype(int)
    file.end()
    np.testing.assert_array_equal(numbers, [smallest, largest, fill, 32767])


def test_bands_keep_their_own_resolution(tmp_path, small_tile):
    fine = np.random.default_rng(5).uniform(0, 1, (1200, 1200)).astype(np.float32)
    middle = np.random.default_rng(6).uniform(0, 1, (600, 600)).astype(np.float32)
    tile = small_tile.drop_vars("BAND03")
    tile["BAND02"] = (("lat_500m", "lon_500m"), fine)
    tile["BAND03"] = (("lat_1km", "lon_1km"), middle)
    write_tile(tile, tmp_path / NAME)
    np.testing.assert_allclose(read_tile(tmp_path / NAME, 0.5, bands=[2]).BAND02, fine, atol=5.1e-5)
    read = read_tile(tmp_path / NAME, bands=[2, 3])
    np.testing.assert_allclose(read.BAND02, block_mean(fine, 4), atol=5.1e-5)
    np.testing.assert_allclose(read.BAND03, block_mean(middle, 2), atol=5.1e-5)


def layout(path):
    file = SD(str(path))
    found = {}
    for name, (dimensions, shape, hdf_type, index) in file.datasets().items():
        attributes = file.select(index).attributes(full=1)
        packed = {key: (value[0], value[2]) for key, value in attributes.items()}
        found[name] = (dimensions if name.startswith("BAND") else None, shape, hdf_type, packed)
    file.end()
    return found


def test_files_are_laid_out_as_the_real_ones(realdata_dir, tmp_path):
    (path,) = realdata_dir.glob("l1g/GOES17/GEONEX-L1G/h09v03/2019/335/*.hdf")
    tiles = {size: read_tile(path, resolution) for resolution, size in ((2.0, 300), (1.0, 600), (0.5, 1200))}
    tile = tiles[300]
    for number, size in ((1, 600), (2, 1200), (3, 600), (5, 600)):
        tile[f"BAND{number:02d}"] = ((f"y{size}", f"x{size}"), tiles[size][f"BAND{number:02d}"].values)
    write_tile(tile, tmp_path / path.name)
    assert layout(tmp_path / path.name) == layout(path)
    assert (tmp_path / path.name).stat().st_size < 1.1 * path.stat().st_size
    # nothing is lost where the real file holds no other numbers than ours may
    again = read_tile(tmp_path / path.name)
    for name in again.data_vars:
        np.testing.assert_array_equal(again[name], read_tile(path)[name], err_msg=name)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda tile: tile.assign_attrs(satellite="G17"), "contradicts"),
        (lambda tile: tile.assign_attrs(tile="h10v03").assign_coords(lon=tile.lon + 6), "contradicts"),
        (lambda tile: tile.assign_coords(time=np.datetime64("2020-01-01", "ns")), "contradicts"),
        (lambda tile: tile.isel(lat=slice(None, None, -1)), "grid"),
        (lambda tile: tile.isel(lat=slice(0, 200)), "square"),
        (lambda tile: tile.isel(lat=slice(0, 200), lon=slice(0, 200)), "grid"),
        (lambda tile: tile.drop_vars(["BAND03", "BAND07", "BAND13"]), "BAND01"),
        (lambda tile: tile.assign(BAND03=tile.BAND03.assign_attrs(units="%")), "%"),
        (lambda tile: tile.assign_attrs(satellite="G15"), "G15"),
    ],
)
def test_what_cannot_be_an_l1g_file_is_not_written(tmp_path, small_tile, change, word):
    with pytest.raises(InputError, match=word):
        write_tile(change(small_tile), tmp_path / NAME)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, small_tile):
    with pytest.raises(InputError):
        write_tile(small_tile, tmp_path / NAME, dtype="float32")
    (tmp_path / "file").touch()
    with pytest.raises(L1GError, match="cannot be written"):
        write_tile(small_tile, tmp_path / "file" / NAME)
    (tmp_path / NAME).mkdir()
    with pytest.raises(L1GError, match="cannot be written"):
        write_tile(small_tile, tmp_path / NAME)
    assert sorted(os.listdir(tmp_path)) == sorted(["file", NAME])


def test_every_real_tile_can_be_read(realdata_dir):
    paths = sorted(realdata_dir.glob("l1g/**/*.hdf"))
    assert len(paths) == 49
    for path in paths[::6]:
        tile = read_tile(path)
        for band in get_satellite(tile.attrs["satellite"]).bands:
            values = tile[band.name].values
            values = values[np.isfinite(values)]
            assert values.size == 0 or (-0.1 <= values.min() and values.max() < (2 if band.unit == "1" else 430))
        assert 0 <= tile.solar_zenith.min() and tile.solar_zenith.max() <= 180


def test_a_written_file_holds_no_path_of_the_machine(tmp_path):
    """HDF4 would keep the path that it was created under."""
    numbers = np.full((300, 300), 9, np.uint16)
    tile = read_tile(write_hdf(tmp_path / NAME, {"BAND07": (numbers, 0.01, 100.0, None)}), bands=[7])
    path = tmp_path / "somebodys_folder" / NAME
    write_tile(tile, path)
    content = path.read_bytes()
    assert b"somebodys_folder" not in content
    assert str(tmp_path).encode() not in content
