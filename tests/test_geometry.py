"""The sun's place against NREL's Solar Position Algorithm and pyorbital; a satellite's against pyorbital and Soler."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
from pyorbital.astronomy import sun_zenith_angle
from pyorbital.orbital import get_observer_look

from satxlate_jax.geometry import solar_position, view_angles
from satxlate_jax.simulator import viewing_geometry as simulated

# UTC, latitude, longitude, geometric topocentric zenith angle and azimuth at sea level, degrees: NREL's SPA (Reda &
# Andreas, NREL/TP-560-34302, 2008) as pvlib 0.16.1 computes it (pvlib.spa, its own difference of TT and UT).
SPA = """
1990-08-03T23:51:08   90.000   -20.902   72.6328  335.3454
1990-12-19T02:34:17  -90.000   -48.319   66.5964  188.9524
1991-12-01T06:12:33    0.000   -72.475  148.4452  135.0276
1992-09-25T16:45:51    0.000   131.651  154.7357   92.6659
1993-04-15T19:29:14    7.374   180.000   66.8447   82.2569
1993-12-06T11:38:11   -5.319  -180.000  151.9807  186.3515
1994-10-16T13:27:29    8.309     0.000   30.6731  236.3863
1995-06-20T09:10:05   -4.272   179.999  134.4802  299.0443
1995-12-31T15:28:23  -60.208  -110.159   54.7411   74.4606
1996-10-12T14:35:18  -32.622   -36.098   25.6174  345.8235
1997-08-12T07:29:51  -21.848  -103.697  170.0723  132.9086
1997-11-02T09:21:22   -0.436     4.395   33.9808  116.4928
1998-12-17T00:40:08  -12.299  -132.641   56.3696  250.0056
1999-09-24T19:45:26   26.315   -57.600   64.2846  255.5521
2000-03-14T06:41:35   37.344   178.409   96.6234  272.0552
2000-12-26T01:15:55   32.477   151.009   56.6724  168.8432
2001-06-30T17:32:09   -4.487  -175.263   94.6558   67.1066
2002-07-03T11:56:20  -12.425   -54.783   65.8433   57.5570
2003-06-10T07:01:39  -72.478   112.712   98.9110  324.7249
2003-09-03T00:08:32  -17.040   121.691   60.7342   70.4839
2004-06-30T04:32:14   35.038   -66.907  121.8104    0.2579
2005-07-04T20:19:40  -17.527    57.196  174.6332    9.8648
2005-12-22T13:09:54  -25.361    94.714   98.4651  238.9653
2006-08-04T15:40:54  -42.382   -34.715   62.0637  339.3991
2007-06-23T05:38:24   15.443  -138.775  113.9063  305.0103
2007-09-25T00:42:23    0.085   102.752   64.6440   90.7376
2008-07-11T13:38:23  -65.210    84.516  117.2917  263.5996
2009-09-28T22:20:14  -31.088    22.222  146.5591  180.6081
2009-12-12T03:53:50  -57.844   100.825   37.3932   29.7506
2010-07-25T13:38:09  -43.866   176.439  150.8438  140.1723
2011-11-28T08:17:55  -29.000  -100.531  123.3997  149.5494
2012-06-29T03:37:36  -58.169  -177.702   93.5852  310.3695
2013-05-11T23:51:35   78.047    44.924   80.6793   41.7484
2013-11-30T09:20:53   15.516  -111.585  149.6032  106.5483
2014-09-27T07:21:29  -49.843   132.299   72.8284  288.6573
2015-01-14T09:14:40    2.942    93.667   54.6976  241.1425
2016-01-14T05:45:55  -11.912   -10.488  100.3089  114.6628
2016-04-29T06:11:59  -37.778   102.462   54.5362  340.7269
2017-07-02T14:28:30  -10.024   160.137  159.7809   48.1209
2018-02-22T15:10:10    7.661    80.459  125.3064  263.0647
2018-06-21T09:22:38  -53.274   -83.199  128.1317  101.9221
2019-03-05T04:58:49   65.424   -14.676  108.7971   61.8864
2019-11-14T23:32:17   -0.430  -150.816   31.3067  233.6123
2021-01-14T21:59:28  -57.736    46.269  100.2906  166.9181
2021-08-21T15:41:03   21.779   -61.180   11.7701  146.0824
2022-01-28T03:41:24   63.641  -130.260  111.5323  272.2435
2023-01-18T12:51:42  -75.336   -95.316   68.8965   90.5713
2023-10-12T10:24:12   21.320   -66.995   90.4458   97.7492
2024-06-27T21:30:02   42.644   111.801   85.6666   62.0455
2025-06-01T01:37:25   -6.247  -173.014   42.1561  313.1642
2026-01-06T17:19:40  -58.018  -119.890   46.3252   57.7897
2026-06-07T01:55:23   30.995   -84.767  104.3252  308.2267
2026-11-13T17:35:34  -19.499   118.617  134.3212  143.7472
2027-09-15T10:05:26  -23.219  -140.522  156.7084  148.3078
2028-04-21T08:29:58   32.675   174.572  109.1550  299.0827
2029-07-07T16:14:57  -81.992   102.046  120.1974  196.5667
2030-03-25T16:43:46  -30.473   -30.277   49.4844  303.8206
2030-07-12T14:27:24   54.436    44.674   66.6593  275.4443
2031-10-04T06:42:23  -43.019    65.100   40.0504   18.0130
2032-01-09T04:50:49  -58.761   102.717   36.8775    9.7122
2032-10-30T21:01:41  -54.423   -92.083   54.5080  298.6959
2033-08-15T08:38:44    2.247   136.424   84.6009  283.7515
2034-08-16T23:25:15  -14.583    78.108  113.9277   81.5053
2035-04-06T13:00:46    1.496  -144.384  129.2633   80.3388
2035-06-09T13:26:13   56.080  -174.946   97.7798   24.7603
2036-09-04T02:38:19  -31.191    51.148   92.7841   83.5028
2036-11-23T05:40:48   32.495   114.417   57.3425  205.7753
2038-01-11T03:25:26    9.291    60.786   75.1421  115.6367
2038-08-23T20:03:27   14.671   110.767  123.2444   65.7070
2038-12-26T01:17:21  -70.839  -179.005   48.9099  335.0618
2039-08-16T09:55:26  -64.772   153.379  115.3799  246.9630
2040-12-13T17:48:17  -44.174   -47.475   39.4276  288.4434
"""


def separation(zenith, azimuth, other_zenith, other_azimuth):
    """Angle between two directions, degrees; at the zenith an azimuth alone says nothing."""
    a, b, turn = np.radians(zenith), np.radians(other_zenith), np.radians(azimuth - other_azimuth)
    chord = np.sin((a - b) / 2) ** 2 + np.sin(a) * np.sin(b) * np.sin(turn / 2) ** 2
    return np.degrees(2 * np.arcsin(np.sqrt(chord)))


def table():
    rows = [line.split() for line in SPA.strip().splitlines()]
    return np.array([row[0] for row in rows], "datetime64[s]"), *np.array([row[1:] for row in rows], float).T


def test_the_sun_is_where_nrel_says():
    time, latitude, longitude, zenith, azimuth = table()
    ours = solar_position(time, latitude, longitude)
    assert len(time) >= 70 and time.min() < np.datetime64("1991") and time.max() > np.datetime64("2040")
    assert np.abs(ours[0] - zenith).max() < 0.012
    away = separation(*ours, zenith, azimuth)
    assert away.max() < 0.012
    print(f"largest difference {away.max():.4f} degrees")
    spencer = [simulated.solar_position(t.item(), a, b) for t, a, b in zip(time, latitude, longitude, strict=True)]
    assert separation(*np.transpose(spencer), zenith, azimuth).max() > 0.1  # why there is one beside the simulator's


def test_nrels_own_example():
    """Of the report: Golden, Colorado; 39.872046 degrees of elevation before it adds refraction."""
    time = datetime(2003, 10, 17, 12, 30, 30, tzinfo=timezone(timedelta(hours=-7)))
    zenith, azimuth = solar_position(time, 39.742476, -105.1786)
    assert zenith == pytest.approx(90 - 39.872046, abs=0.012)
    assert azimuth == pytest.approx(194.340241, abs=0.012 / np.sin(np.radians(50)))


def test_the_sun_is_where_pyorbital_says():
    random = np.random.default_rng(1)
    day = random.integers(0, 18_600, 3000).astype("timedelta64[D]")
    time = np.datetime64("1990-01-01", "ns") + day + random.integers(0, 86_400, 3000).astype("timedelta64[s]")
    latitude, longitude = random.uniform(-90, 90, 3000), random.uniform(-180, 180, 3000)
    theirs = sun_zenith_angle(time, longitude, latitude)
    assert np.abs(solar_position(time, latitude, longitude)[0] - theirs).max() < 0.012 + 0.01  # its own 0.01


def test_one_time_for_a_grid_and_one_kind_of_time_as_good_as_another():
    latitude, longitude = np.linspace(60, -60, 7)[:, None], np.linspace(-180, 174, 9)[None]
    time = datetime(2019, 6, 21, 12, 0)
    zenith, azimuth = solar_position(time, latitude, longitude)
    assert zenith.shape == azimuth.shape == (7, 9) and zenith.dtype == azimuth.dtype == np.float32
    assert zenith.min() >= 0 and zenith.max() <= 180 and azimuth.min() >= 0 and azimuth.max() < 360
    for same in (time.replace(tzinfo=UTC), np.datetime64(time), np.datetime64(time, "ns")):
        np.testing.assert_array_equal(solar_position(same, latitude, longitude)[0], zenith)


def test_a_satellite_is_where_pyorbital_says():
    """Its observers stand on an ellipsoid too (WGS72, 2 m smaller), and its satellites move."""
    random = np.random.default_rng(2)
    latitude, longitude = random.uniform(-81, 81, 3000), random.uniform(-180, 180, 3000)
    for place in (-137.2, -75.2, 140.7):
        time = np.full(3000, np.datetime64("2019-02-01T00:00"))
        azimuth, elevation = get_observer_look(place, 0.0, 35786.02, time, longitude, latitude, 0.0)
        ours = view_angles(place, latitude, longitude)
        assert separation(*ours, 90 - elevation, azimuth).max() < 0.005
        assert np.array_equal(ours[0] > 90, elevation < 0) and 0.4 < np.mean(elevation < 0) < 0.7


def test_look_angles_of_the_literature():
    """At the equator tan(elevation) = (cos d - Re / r) / sin d; on the meridian, latitude plus its depth."""
    for away in (10.0, 45.0, 80.0):
        d, ratio = np.radians(away), 6378.137 / 42164.16
        expected = 90 - np.degrees(np.arctan2(np.cos(d) - ratio, np.sin(d)))
        zenith, azimuth = view_angles(140.7, 0.0, 140.7 + away)
        assert zenith == pytest.approx(expected, abs=1e-4) and azimuth == pytest.approx(270, abs=1e-4)
    assert view_angles(-75.2, 0.0, -75.2)[0] == 0
    zenith, azimuth = view_angles(-75.2, np.array([40.0, -40.0]), np.array([-75.2]))
    geocentric = np.arctan((6356.752314 / 6378.137) ** 2 * np.tan(np.radians(40)))
    radius = 1 / np.hypot(np.cos(geocentric) / 6378.137, np.sin(geocentric) / 6356.752314)
    below = np.degrees(np.arctan2(radius * np.sin(geocentric), 42164.16 - radius * np.cos(geocentric)))
    assert zenith[0] == zenith[1] and zenith[0] == pytest.approx(40 + below, abs=1e-3)
    np.testing.assert_array_equal(azimuth, [180, 0])


def test_satellites_over_the_date_line_and_shapes():
    zenith, azimuth = view_angles(-137.2, np.linspace(60, -60, 7)[:, None], np.linspace(-180, 174, 9)[None])
    assert zenith.shape == azimuth.shape == (7, 9) and zenith.dtype == azimuth.dtype == np.float32
    assert azimuth.min() >= 0 and azimuth.max() < 360
    east, west = (view_angles(-137.2, 10.0, longitude) for longitude in (179.0, -181.0))
    np.testing.assert_allclose(east, west, atol=1e-4)
    assert east[0] < 90
