"""The instruments' wavelengths, resolutions and names against satpy's definitions of its readers."""

import pytest

from satxlate_jax.instruments import SATELLITES, get_satellite
from satxlate_jax.sources.scene import READER_OF, find_band, reader_bands

pytest.importorskip("satpy")
# satpy's definition of this reader imports pyspectral, which has no wheels
NEEDS = {"ami_l1b": "pyspectral"}


@pytest.mark.parametrize("name", ["G17", "H9", "GK2A", "MTG1", "MSG4"])
def test_every_band_is_one_of_satpys(name):
    """Each by its wavelength, no two the same one; units and, of new instruments, wavelengths and sizes too."""
    satellite = get_satellite(name)
    reader = READER_OF[satellite.instrument]
    pytest.importorskip(NEEDS.get(reader, "satpy"))
    found = {}
    for identity in (one.to_dict() for one in reader_bands(reader)):
        band = find_band(satellite, identity["wavelength"])
        assert band is not None and band.number not in found
        found[band.number] = identity["name"]
        assert identity["calibration"] == band.kind
        if band.is_borrowed:
            assert band.wavelength == pytest.approx(
                identity["wavelength"].central, rel=0.01
            )  # AMI's guide rounds otherwise
        if satellite.instrument not in ("SEVIRI", "FCI"):  # 3 km, and two resolutions of some bands
            assert band.native_resolution_km * 1000 == identity["resolution"]
    assert sorted(found) == [band.number for band in satellite.bands]


def test_statistics_are_borrowed_from_the_nearest_wavelength():
    amis, fcis, seviris = (SATELLITES[name].bands for name in ("GK2A", "MTG1", "MSG4"))
    assert (amis[1].mean, amis[4].mean, amis[15].mean) == (0.512, 0.077, 259.913)
    assert (fcis[0].mean, fcis[4].mean, fcis[8].mean) == (0.829, 0.663, 285.251)
    assert (seviris[8].mean, seviris[11].mean) == (274.522, 0.621)
