"""The spectral flow: passes on the channels that are given and infers the rest with their exact distribution.

    y = base(x) + W^-1(m + s z),   z ~ N(0, 1)

for the channels of the wavelength axis that are not given: `base` is a regression per pixel, fitted in closed form for
each pattern of given channels and frozen; W the CDF 5/3 wavelet (wavelet.py); m and s, the mean and standard deviation
of its coefficients, come from one small network for all satellites and patterns, which begins at zero: step 0 is the
regression with the standard deviation that it left. The map between y and z is exactly invertible, and its likelihood
exact. Given channels pass unchanged, or through the double difference where two instruments' responses differ.

Sunlight at 3.9 um is physics where 2.25 um tells the reflectance r: radiance = emitted (1 - a r) + a r cos(solar
zenith) F0 / pi. Images carry two more channels than bands, `ANGLES`; NaN where they are not known.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from satxlate_jax.models import band_covariance, flow_layers, wavelet
from satxlate_jax.models.network import EqualByStructure, Params, find_network, noise_at_places
from satxlate_jax.wavelength_axis import WavelengthAxis

ANGLES = ("cos_solar_zenith", "air_mass")
"""The last two channels of an image: the cosine of the solar zenith angle, and 1 / cosine of the view zenith angle."""
INFLATION = 2.0  # of the standard deviation where inputs are unlike the training's, for want of knowledge
LOG_SIGMA = (-5.0, 3.0)  # limits of the logarithm of a standard deviation relative to the base's
SOLAR_IRRADIANCE = 9.8  # W m-2 um-1 at 3.9 um
_SUNLIT, _REFLECTANCE = (3.5, 4.2), (2.1, 2.4)  # um: the channel that sunlight adds to, and the one that tells how much


class Distribution(NamedTuple):
    """Mean, standard deviation, and where inputs are as never trained on, bool, all [batch, h, w, band]; a draw.

    The draw, as smooth as the truth, its bands dependent as they are there, is the mean's kind; None if none was made.
    """

    mean: jax.Array
    std: jax.Array
    extrapolated: jax.Array
    sample: Any = None


class SpectralFlow(EqualByStructure):
    """The translator as functions of a nested dict of parameters; see the module.

    `flow` is that section of a configuration (configs/default.py); `precision` ('float32' | 'bfloat16') is that of the
    convolutions.

    Attributes:
      patterns: the sets of given channels that it infers from.
      stride, alignment: images may have any size; blocks of one begin at multiples of `alignment`.
      radius: pixels that an output depends on to each side, nearly.
      block: largest side of an image that is computed at once, pixels: 1.7 GB (measured).
    """

    extra_channels = len(ANGLES)
    is_calibrated = True
    block = 1_344
    stride = 1

    def __init__(
        self,
        flow: Mapping[str, Any],
        axis: WavelengthAxis,
        bands: Mapping[str, Sequence[int]],
        precision: str = "float32",
        remat: bool = False,
    ):
        self.axis, self.flow = axis, dict(flow)
        self.bands = {satellite: tuple(numbers) for satellite, numbers in bands.items()}
        self.structure = (tuple(flow.items()), axis, tuple(self.bands.items()), precision, remat)
        self.levels, self.alignment = flow["levels"], 2 ** flow["levels"]
        self.radius = 2 * self.alignment + 2 * flow["blocks"] + flow_layers.CONTEXT
        self.patterns = axis.patterns()
        dtype = jnp.bfloat16 if precision == "bfloat16" else None
        sizes = flow["width"], flow["blocks"], flow["levels"], dtype
        self._network = find_network(flow_layers.FlowNetwork, axis.size, *sizes, remat=remat)
        self.sunlit, self.reflectance = (
            next((channel for channel, wavelength in enumerate(axis.wavelengths) if low < wavelength < high), None)
            for low, high in (_SUNLIT, _REFLECTANCE)
        )
        if not flow["solar"]:
            self.reflectance = None

    def groups(self, pattern: Sequence[int]) -> list[flow_layers.Group]:
        """How the channels that a pattern lacks are inferred."""
        return flow_layers.make_groups(pattern, self.axis.thermal, self.flow["degree"])

    def copied(self, source: str, target: str) -> list[tuple[int, int]]:
        """Positions of bands in the source's and the target's arrays that pass from one to the other unchanged."""
        return self.axis.copied(source, target)

    def origins(self, source: str, target: str) -> list[str]:
        """Where each of the target's bands comes from, one of `wavelength_axis.ORIGINS`."""
        return self.axis.origins(source, target)

    # ------------------------------------------------------------ parameters

    def init(self, key: jax.Array) -> Params:
        """Fresh parameters: those of the network, with a leading axis of members, and of the base, all zero or one.

        training/flow_init.py fits the base before step 0, flow_calibration.py the calibration after the last.
        """
        n, subbands = self.axis.size, 3 * self.levels + 1
        networks = [self._network.init(each) for each in jax.random.split(key, self.flow["members"])]
        adapted = [name for name, channels in self.axis.adapted if channels]
        usual = {
            name: {"mean": jnp.zeros(n), "precision": jnp.zeros((subbands, n, n)), "factor": jnp.ones(n)}
            for name in self.bands
        }
        return ({"usual": usual} if self.flow.get("surprise") else {}) | {
            "network": jax.tree.map(lambda *leaves: jnp.stack(leaves), *networks),
            "adapters": {
                name: {"kernel": jnp.zeros((n, n)), "bias": jnp.zeros(n), "std": jnp.zeros(n)} for name in adapted
            },
            "inputs": {"mean": jnp.zeros(n), "kernel": jnp.eye(n)},
            "base": {name_pattern(pattern): self._empty_base(pattern) for pattern in self.patterns},
            "calibration": {
                name_pattern(pattern): {
                    "gate": jnp.ones((2, n)),
                    "sigma": jnp.ones((subbands, n)),
                    "std": jnp.ones((2, n)),
                    "draw": jnp.ones((self.levels + 1, n)),
                }
                for pattern in self.patterns
            },
        }

    def _empty_base(self, pattern: Sequence[int]) -> Params:
        n, subbands = self.axis.size, 3 * self.levels + 1
        gains = jnp.broadcast_to(jnp.eye(n), (subbands, n, n))
        base: Params = {"gains": gains, "sigma": jnp.ones((subbands, n)), "sun": jnp.zeros(4)}
        for group in self.groups(pattern):
            m, features, outputs = group.inputs, group.features, len(group.inferred)
            base[group.name] = {
                "kernel": jnp.zeros((len(group.given), m)),
                "bias": jnp.zeros(m),
                "range": jnp.zeros((2, m)),
                "air_mass": jnp.ones(4),  # mean, scale, lowest, highest
                "precision": jnp.zeros((m, m)),
                "leverage": jnp.ones(()),
                "weights": jnp.zeros((features, outputs)),
                "offset": jnp.zeros(outputs),
                "used": jnp.zeros(outputs),  # 1 where this group is the one that infers a channel
            }
        return base

    def adopt(self, params: Params, satellite: str, twin: str | None, adapter_of: str | None) -> Params:
        """Parameters for a satellite that no training saw, the last of this flow's, from those of a flow without it.

        `twin` is a satellite of its instrument, where there is one; `adapter_of` one whose bands respond as its own do,
        whose adapter serves it.
        """
        known = params.get("usual", {})
        parts = (("adapters", params["adapters"], adapter_of), ("usual", known, twin))
        shared = {name: part | {satellite: part[one]} for name, part, one in parts if one in part}
        adopted = {}
        for target, usual in known.items():
            pattern, own = self.axis.given(satellite, target), self.axis.of_satellite(target)
            if pattern and not self.is_fitted(params, satellite, target) and usual["precision"].any():
                given = np.array([channel in pattern or channel not in own for channel in range(self.axis.size)])
                adopted[target] = jax.tree.map(jnp.float32, band_covariance.condition(usual, given))
        return params | shared | {"adopted": {**params.get("adopted", {}), satellite: adopted}}

    def can_translate(self, params: Params, source: str, target: str) -> bool:
        """Tell if the bands that a target has and a source has not can be inferred."""
        adopted = params.get("adopted", {}).get(source, {})
        return self.is_fitted(params, source, target) or target in adopted

    def is_fitted(self, params: Params, source: str, target: str) -> bool:
        """Tell if the training inferred what a target has and a source has not from the same bands."""
        return self.passes(source, target) or name_pattern(self.axis.given(source, target)) in params["base"]

    def passes(self, source: str, target: str) -> bool:
        """Tell if a source has all channels of a target."""
        return {*self.axis.of_satellite(target)} <= {*self.axis.of_satellite(source)}

    # ------------------------------------------------------------ satellite <-> axis

    def to_axis(self, params: Params, x: jax.Array, satellite: str) -> jax.Array:
        """A satellite's image [..., band] in the axis's channels [..., channel], zero in those that it lacks."""
        slope, offset = jnp.asarray(self.axis.scale(satellite), x.dtype)
        y = self.put(x * slope + offset, self.axis.of_satellite(satellite))
        return y + self._adapter(params, y, satellite)

    def from_axis(self, params: Params, y: jax.Array, satellite: str) -> jax.Array:
        """The inverse of `to_axis`: a satellite's bands of channels [..., channel]."""
        slope, offset = jnp.asarray(self.axis.scale(satellite), y.dtype)
        y = y - self._adapter(params, y, satellite)
        return (self.take(y, self.axis.of_satellite(satellite)) - offset) / slope

    def _adapter(self, params: Params, y: jax.Array, satellite: str) -> jax.Array | float:
        """The double difference to the reference instrument: a linear map of channels that are alike."""
        if satellite not in params["adapters"]:
            return 0.0
        adapter = params["adapters"][satellite]
        return jnp.matmul(y, adapter["kernel"].astype(y.dtype), precision="highest") + adapter["bias"].astype(y.dtype)

    def _adapter_std(self, params: Params, source: str, target: str) -> jax.Array:
        """The standard deviation [band] of a target's bands that the double difference makes of the source's."""
        instruments, parts = dict(self.axis.instruments), []
        if instruments[source] != instruments[target]:
            parts = [params["adapters"][name]["std"] for name in (source, target) if name in params["adapters"]]
        return self.std_from_axis(sum(parts, jnp.zeros(self.axis.size)), target)

    def std_from_axis(self, std: jax.Array, satellite: str) -> jax.Array:
        """Standard deviations [..., channel] on the axis as those of a satellite's bands [..., band], network units."""
        return std[..., jnp.array(self.axis.of_satellite(satellite))] / jnp.asarray(self.axis.scale(satellite)[0])

    # ------------------------------------------------------------ base

    def base(self, params: Params, y: jax.Array, angles: jax.Array, pattern: Sequence[int], known: Any = None) -> Any:
        """As `regress`, with its noise filtered out."""
        filled, unlike = self.regress(params, y, angles, pattern, known)
        gains = params["base"][name_pattern(pattern)]["gains"]
        return self.wiener_filter(gains, filled, self.mask(pattern), self.missing(pattern)), unlike

    def regress(
        self, params: Params, y: jax.Array, angles: jax.Array, pattern: Sequence[int], known: Any = None
    ) -> Any:
        """Given channels as they are and the others by regression, and where the inputs are unlike the training's.

        Args:
          params: as `init` gives them.
          y: [batch, h, w, channel] on the axis; those not in the pattern do not count.
          angles: [batch, h, w, 2], see `ANGLES`.
          pattern: the given channels.
          known: [batch, h, w, channel], the channels of all that the source has, for the reflectance of sunlight.

        Returns:
          Two arrays [batch, h, w, channel], the second bool.
        """
        base = params["base"][name_pattern(pattern)]
        filled, unlike = jnp.where(self.mask(pattern), y, 0), jnp.zeros(y.shape, bool)
        for group in self.groups(pattern):
            fit = jax.tree.map(lambda leaf: leaf.astype(y.dtype), base[group.name])
            given = self.take(filled, group.given)
            # another group may infer all of them: its polynomial is not computed then
            nothing = jnp.zeros((*y.shape[:-1], len(group.inferred)), y.dtype)
            found, far = jax.lax.cond(
                jnp.any(fit["used"] > 0),
                partial(flow_layers.infer, group),
                lambda *_, nothing=nothing: (nothing, nothing > 0),
                *(fit, given, angles[..., 1]),
            )
            filled = filled + self.put(found, group.inferred)
            unlike |= self.put(far.astype(y.dtype), group.inferred) > 0
        if self.sunlit is not None and self.sunlit not in pattern:
            filled, far = self._add_sunlight(base["sun"], filled, angles[..., 0], known)
            unlike |= far[..., None] & self.mask([self.sunlit])
        return filled, unlike

    def mask(self, pattern: Sequence[int]) -> jax.Array:
        """True for the channels of a pattern, bool [channel]."""
        return jnp.zeros(self.axis.size, bool).at[jnp.array(pattern)].set(True)

    def missing(self, pattern: Sequence[int]) -> np.ndarray:
        """The channels that a pattern lacks, ascending: mostly few, so that to work on them only is cheap."""
        return np.setdiff1d(np.arange(self.axis.size), pattern)

    def take(self, x: jax.Array, channels: Sequence[int] | np.ndarray | None) -> jax.Array:
        """Some channels of x [..., channel], exactly, in less time than by their numbers; None is all."""
        if channels is None:
            return x
        return jnp.matmul(x, jax.nn.one_hot(channels, self.axis.size, dtype=x.dtype).T, precision="highest")

    def put(self, x: jax.Array, channels: Sequence[int] | np.ndarray) -> jax.Array:
        """Channels [..., one of some] in their places on the axis [..., channel], zero in the others."""
        return jnp.matmul(x, jax.nn.one_hot(channels, self.axis.size, dtype=x.dtype), precision="highest")

    def wiener_filter(self, gains: jax.Array, filled: jax.Array, given: jax.Array, missing: Any = None) -> jax.Array:
        """The best linear estimate of each wavelet coefficient from those of the regression and of the given channels.

        A regression per pixel amplifies the noise of the given channels. At scales where little but noise is left, this
        Wiener filter, one per subband, removes it. Where the channels that are not given are known before compiling,
        `missing` names them.
        """
        x = wavelet.transform(filled, self.levels)
        made, gains = self.take(x, missing), self.take(gains, missing)
        for band, gain in zip(wavelet.subbands(x.shape[1:3], self.levels), gains.astype(x.dtype), strict=True):
            if band.level < self.levels:
                part = jnp.matmul(x[:, band.rows, band.columns], gain, precision="highest")
                made = made.at[:, band.rows, band.columns].set(part)
        image = wavelet.inverse(made, self.levels)
        return jnp.where(given, filled, image if missing is None else self.put(image, missing))

    def _add_sunlight(self, sun: jax.Array, y: jax.Array, cosine: jax.Array, known: Any) -> Any:
        """Sunlight on the emission of the 3.9 um channel; `sun` is a, whether physics applies, and the range seen."""
        share, applies, _, highest = sun
        height = jnp.where(jnp.isfinite(cosine), jnp.maximum(cosine, 0), 0)
        channel, source = self.sunlit, self.reflectance
        if known is None or channel is None or source is None:
            return y, height > highest + 0.02
        wavelength = self.axis.wavelengths[channel]
        r = share * jnp.clip(known[..., source] * self.axis.std[source] + self.axis.mean[source], 0, 1)
        r = jnp.where(height > 0, r, 0) * applies
        temperature = jnp.clip(y[..., channel] * self.axis.std[channel] + self.axis.mean[channel], 150, 420)
        total = flow_layers.radiance(temperature, wavelength) * (1 - r) + r * height * SOLAR_IRRADIANCE / jnp.pi
        bright = (flow_layers.brightness_temperature(total, wavelength) - self.axis.mean[channel]) / self.axis.std[
            channel
        ]
        value = jnp.where(r > 0, bright, y[..., channel])
        return y.at[..., channel].set(value), (height > highest + 0.02) & (applies == 0)

    # ------------------------------------------------------------ flow

    def coefficients(self, params: Params, filled: jax.Array, pattern: Sequence[int]) -> tuple[jax.Array, jax.Array]:
        """Mean and standard deviation of the coefficients of what the base leaves.

        Both are [member, batch, h, w, missing channel], of the channels that the pattern lacks.
        """
        return self.run_network(params, filled, self.settings(params, pattern), self.missing(pattern))

    def settings(self, params: Params, pattern: Sequence[int]) -> Params:
        """What makes a pattern, as arrays: 'given' (bool), 'gains', 'sigma' and 'calibration'."""
        base = params["base"][name_pattern(pattern)]
        settings = {"given": self.mask(pattern), "gains": base["gains"], "sigma": base["sigma"]}
        return settings | {"calibration": params["calibration"][name_pattern(pattern)]}

    def run_network(
        self, params: Params, filled: jax.Array, settings: Params, channels: np.ndarray | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """As `coefficients`, of a pattern's settings and of these channels; of all, a program serves all patterns."""
        inputs, given, take = params["inputs"], settings["given"], partial(self.take, channels=channels)
        scales = take(settings["sigma"])
        calibration = {name: take(settings["calibration"][name]) for name in ("gate", "sigma")}
        white = (filled - inputs["mean"].astype(filled.dtype)) @ inputs["kernel"].astype(filled.dtype)
        features = [white, flow_layers.local_means(white), jnp.broadcast_to(given.astype(filled.dtype), filled.shape)]
        features = jax.lax.stop_gradient(jnp.concatenate(features, -1))
        # one after the other: a convolution over members at once is a grouped one, many times slower on CPUs
        members = [jax.tree.map(itemgetter(index), params["network"]) for index in range(self.flow["members"])]
        made = [self._network.apply(member, features) for member in members]
        mean, sigmas = jax.tree.map(lambda *parts: take(jnp.stack(parts)), *made)
        mean = wavelet.transform(mean.astype(filled.dtype) * scales.max(0), self.levels)
        *_, coarse = wavelet.subbands(filled.shape[1:3], self.levels)
        details, whole = calibration["gate"]
        place = (..., coarse.rows, coarse.columns, slice(None))
        mean = (mean * details).at[place].set(mean[place] * (0 if self.flow["coarse"] == "base" else whole))
        parts = [
            jnp.exp(jnp.clip(part, *LOG_SIGMA)) * scale * factor
            for part, scale, factor in zip(sigmas, scales, calibration["sigma"], strict=True)
        ]
        return mean, wavelet.assemble(parts).astype(filled.dtype)

    def standardize(
        self, params: Params, y: jax.Array, angles: jax.Array, pattern: Sequence[int], known: Any = None
    ) -> tuple[jax.Array, jax.Array]:
        """The latent coefficients z [member, batch, h, w, missing channel] of images on the axis, and log sigma.

        The log-determinant of y -> z is minus the sum of log sigma.
        """
        filled, _ = self.base(params, y, angles, pattern, known)
        mean, sigma = self.coefficients(params, filled, pattern)
        left = self.take(y - filled, self.missing(pattern))
        return (wavelet.transform(left, self.levels) - mean) / sigma, jnp.log(sigma)

    def synthesize(
        self, params: Params, y: jax.Array, z: jax.Array, angles: jax.Array, pattern: Sequence[int], known: Any
    ) -> jax.Array:
        """The inverse of `standardize`: images of z [batch, h, w, missing channel], by the first member."""
        filled, _ = self.base(params, y, angles, pattern, known)
        return self.draw(filled, *self.coefficients(params, filled, pattern), z, pattern)

    def draw(self, filled: Any, means: Any, sigma: Any, z: jax.Array, pattern: Sequence[int]) -> jax.Array:
        """Images [batch, h, w, channel] of what `base` and `coefficients` give and z [batch, h, w, missing channel]."""
        return filled + self.put(wavelet.inverse(means[0] + sigma[0] * z, self.levels), self.missing(pattern))

    def _prepare(self, params: Params, x: jax.Array, source: str) -> tuple[jax.Array, jax.Array, Any]:
        """An image with angles: on the axis, its angles, and itself again where it has the reflectance of sunlight."""
        y, angles = self.to_axis(params, x[..., : -len(ANGLES)], source), x[..., -len(ANGLES) :]
        return y, angles, y if self.reflectance in self.axis.of_satellite(source) else None

    def regression(self, params: Params, x: jax.Array, source: str, target: str) -> jax.Array:
        """A target's image by the regression per pixel alone; arguments as of `distribution`."""
        y, angles, known = self._prepare(params, x, source)
        filled, _ = self.regress(params, y, angles, self.axis.given(source, target), known)
        return self.from_axis(params, filled, target)

    def distribution(
        self, params: Params, x: jax.Array, source: str, target: str, key: Any = None, row: Any = 0, column: Any = 0
    ) -> Distribution:
        """The distribution of a target's image, given the source's x [batch, h, w, band and angle], network units.

        The standard deviation is 0 where a band is passed on. With a key, one for all images or [batch], also a sample;
        its noise depends on the key and the place: `row` and `column` are those of the image's first pixel.
        """
        y, angles, known = self._prepare(params, x, source)
        pattern, adapter_std = self.axis.given(source, target), self._adapter_std(params, source, target)
        if self.passes(source, target):
            mean = self.from_axis(params, y, target)
            std = jnp.broadcast_to(adapter_std, mean.shape)
            return Distribution(mean, std, jnp.zeros(mean.shape, bool), None if key is None else mean)
        z = None if key is None else self._noise(params, key, y.shape, target, pattern, row, column)
        if name_pattern(pattern) not in params["base"]:
            responds_alike = not dict(self.axis.adapted)[source] or source in params["adapters"]
            part = params["adopted"][source][target]
            mean, std = self.infer(params, x, source, target, part)
            sample = None if z is None else self.infer(params, x, source, target, part, z)[0]
            # no training gave these bands alone: what is inferred from them was never calibrated
            passed = np.isin(self.axis.of_satellite(target), pattern)
            unlike = jnp.broadcast_to(~passed | (not responds_alike), mean.shape)
            return Distribution(mean, std + adapter_std, unlike, sample)
        filled, unlike = self.base(params, y, angles, pattern, known)
        means, sigma = self.coefficients(params, filled, pattern)
        mean, std = self.moments(params, filled, unlike, means, sigma, pattern)
        own = jnp.array(self.axis.of_satellite(target))
        sample = None
        if z is not None:
            made = self.draw(filled, means, sigma, self.smooth(params, z, pattern), pattern)
            sample = self.from_axis(params, made, target)
        std = self.std_from_axis(std, target) + adapter_std
        return Distribution(self.from_axis(params, mean, target), std, unlike[..., own], sample)

    def moments(self, params: Params, filled: Any, unlike: Any, means: Any, sigma: Any, pattern: Any) -> Any:
        """Mean and standard deviation [batch, h, w, channel] of pixels, of what `base` and `coefficients` give."""
        missing, details = self.missing(pattern), wavelet.inverse(means, self.levels)
        variance = wavelet.pixel_variance(jnp.mean(sigma**2, 0), self.levels) + details.var(0)
        std = jnp.sqrt(variance) * params["calibration"][name_pattern(pattern)]["std"][0, missing]
        std = jnp.where(unlike[..., missing], INFLATION * std, std)
        return filled + self.put(details.mean(0), missing), self.put(std, missing)

    def _noise(
        self, params: Params, key: jax.Array, shape: Sequence[int], target: str, pattern: Sequence[int], *first: Any
    ) -> jax.Array:
        """Unit Gaussian coefficients [batch, h, w, channel], dependent where what is missing of the target is."""
        z = jnp.concatenate([self.noise(one, shape[1:], *first) for one in key.reshape(-1)])
        return self._correlate(params, z, target, pattern)

    def _correlate(
        self, params: Params, z: jax.Array, satellite: str, pattern: Sequence[int], *, inverse: bool = False
    ) -> jax.Array:
        """Coefficients of what a pattern leaves of a satellite, dependent on each other as usual, where a run knows."""
        lost = np.setdiff1d(self.axis.of_satellite(satellite), pattern)
        if lost.size < 2 or satellite not in params.get("usual", {}):
            return z
        return band_covariance.correlate(params["usual"][satellite], z, lost, self.levels, inverse=inverse)

    def smooth(self, params: Params, z: jax.Array, pattern: Sequence[int]) -> jax.Array:
        """Independent coefficients z [batch, h, w, channel] as [..., missing channel], made as smooth as the truth."""
        missing = self.missing(pattern)
        z, factors = self.take(z, missing), params["calibration"][name_pattern(pattern)]["draw"][:, missing]
        for band in wavelet.subbands(z.shape[1:3], self.levels):
            z = z.at[:, band.rows, band.columns].multiply(factors[band.level])
        return z

    def surprise(self, params: Params, x: jax.Array, satellite: str) -> jax.Array:
        """Bits [batch, h, w, band] beyond the training's average of a satellite's image, see band_covariance.py."""
        bits = band_covariance.surprise(params["usual"][satellite], self._prepare(params, x, satellite)[0], self.levels)
        return bits[..., jnp.array(self.axis.of_satellite(satellite))]

    def infer(self, params: Params, x: jax.Array, source: str, target: str, part: Params, z: Any = 0.0) -> Any:
        """Mean and standard deviation [batch, h, w, band] by `band_covariance.infer`, of any set of given channels."""
        mean, std = band_covariance.infer(part, self._prepare(params, x, source)[0], self.levels, z)
        return self.from_axis(params, mean, target), self.std_from_axis(std, target)

    def noise(self, key: jax.Array, shape: Sequence[int], row: Any = 0, column: Any = 0) -> jax.Array:
        """Unit Gaussian coefficients [1, h, w, channel] that depend on the key and on their places alone."""
        z = jnp.zeros((1, *shape))
        for index, band in enumerate(wavelet.subbands(shape[:2], self.levels)):
            size = 2 ** min(band.level + 1, self.levels)
            part = z[0, band.rows, band.columns].shape
            draws = noise_at_places(jax.random.fold_in(key, index), row // size, column // size, part)
            z = z.at[0, band.rows, band.columns].set(draws)
        return z

    def to_latent(self, params: Params, x: jax.Array, satellite: str, given: str) -> jax.Array:
        """The latent image of an image [batch, h, w, band and angle]: given channels as they are, z in the others.

        `given` names the satellite whose bands are taken as given. Channels that neither has are 0.
        """
        y, angles, known = self._prepare(params, x, satellite)
        pattern = self.axis.given(given, satellite)
        if self.passes(given, satellite):
            return y
        known = known if self.reflectance in pattern else None
        z = self.put(self.standardize(params, y, angles, pattern, known)[0][0], self.missing(pattern))
        z = self._correlate(params, z, satellite, pattern, inverse=True)
        own = self.mask(self.axis.of_satellite(satellite))
        return jnp.where(self.mask(pattern), y, jnp.where(own, z, 0))

    def from_latent(
        self, params: Params, latent: jax.Array, satellite: str, given: str, angles: jax.Array
    ) -> jax.Array:
        """The inverse of `to_latent`: [batch, h, w, band] of the satellite."""
        pattern = self.axis.given(given, satellite)
        if self.passes(given, satellite):
            return self.from_axis(params, latent, satellite)
        known = latent if self.reflectance in pattern else None
        z = self.take(self._correlate(params, latent, satellite, pattern), self.missing(pattern))
        return self.from_axis(params, self.synthesize(params, latent, z, angles, pattern, known), satellite)


def name_pattern(pattern: Sequence[int]) -> str:
    """The name of a pattern among parameters."""
    return "given_" + "_".join(map(str, pattern))
