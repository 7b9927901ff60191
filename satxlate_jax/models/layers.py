"""The building blocks: padded convolutions, norms, activations, residual blocks, initialisers.

Images are [batch, height, width, channel]; kernels are [height, width, in, out].
"""

import jax
import jax.numpy as jnp
from flax import linen, nnx

PADDINGS = {"zero": "constant", "reflect": "reflect", "replicate": "edge"}
ACTIVATIONS = {
    "relu": jax.nn.relu,
    "lrelu": lambda v: jax.nn.leaky_relu(v, 0.2),
    "prelu": None,  # the only one with a parameter, see `Activation`
    "selu": jax.nn.selu,
    "tanh": jnp.tanh,
    "none": lambda v: v,
}
NORMS = ("none", "in", "ln", "bn")

# Of convolution kernels, with the gain of ReLU; fan-in is the product of all axes but the last. Biases start at 0.
INITIALIZERS = {
    "gaussian": jax.nn.initializers.normal(0.02),
    "kaiming": jax.nn.initializers.variance_scaling(2.0, "fan_in", "normal"),
    "xavier": jax.nn.initializers.variance_scaling(2.0, "fan_avg", "normal"),
    "orthogonal": jax.nn.initializers.orthogonal(2.0**0.5),
    "default": jax.nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform"),  # U(-1, 1) / sqrt(fan-in)
}


def at_least_float32(x: jax.Array) -> jax.Array:
    """Widen bfloat16: statistics, losses and images are never of less precision."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class Activation(nnx.Module):
    """An elementwise activation; 'prelu' has one slope for all channels, starting at 0.25."""

    def __init__(self, name: str):
        self.name = name
        if name == "prelu":
            self.slope = nnx.Param(jnp.full((1,), 0.25))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply it to x of any shape."""
        if self.name == "prelu":
            return jnp.where(x >= 0, x, self.slope[...].astype(x.dtype) * x)
        return ACTIVATIONS[self.name](x)


class Norm(nnx.Module):
    """A normalisation over an image's statistics, computed in float32.

    'in' instance norm without parameters; 'ln' layer norm per sample over height, width and channel with the unbiased
    deviation added to 1e-5; 'bn' batch norm on the statistics of the batch.
    """

    def __init__(self, name: str, channels: int):
        self.name = name
        if name in ("ln", "bn"):
            # the release draws layer norm's scale from U(0, 1); one is what its shift of 0 suggests for both
            self.scale = nnx.Param(jnp.ones((channels,)))
            self.bias = nnx.Param(jnp.zeros((channels,)))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Normalise x [batch, height, width, channel]."""
        if self.name == "none":
            return x
        dtype = x.dtype
        x = at_least_float32(x)
        if self.name == "ln":
            axes: tuple[int, ...] = (1, 2, 3)
            x = (x - x.mean(axes, keepdims=True)) / (x.std(axes, keepdims=True, ddof=1) + 1e-5)
        else:
            axes = (1, 2) if self.name == "in" else (0, 1, 2)
            x = (x - x.mean(axes, keepdims=True)) * jax.lax.rsqrt(x.var(axes, keepdims=True) + 1e-5)
        if self.name != "in":
            x = x * self.scale[...] + self.bias[...]
        return x.astype(dtype)


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """Add bias [channel] to x [batch, height, width, channel]; the bias' gradient is cheap on CPUs, too.

    There XLA's own sum over pixels takes a third of the time of the convolution's weight gradient; a product with ones
    takes a tenth of that.
    """
    return x + bias


def _add_bias_backward(_: None, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    def product(g: jax.Array) -> jax.Array:
        ones = jnp.ones((*g.shape[:2], 1, g.shape[2]), g.dtype)
        return jax.lax.dot_general(ones, g, (((3,), (2,)), ((0, 1), (0, 1)))).sum((0, 1, 2))

    return gradient, jax.lax.platform_dependent(gradient, cpu=product, default=lambda g: g.sum((0, 1, 2)))


add_bias.defvjp(lambda x, bias: (x + bias, None), _add_bias_backward)


class ConvBlock(nnx.Module):
    """Pad, convolve with bias, normalise, activate."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        stride: int = 1,
        pad: int = 0,
        padding: str = "zero",
        norm: str = "none",
        activation: str = "none",
        initialization: str,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ):
        self.pad, self.padding = pad, padding
        # zeros come for free inside the convolution; the other paddings are a copy before it
        inside = pad if padding == "zero" else 0
        self.conv = nnx.Conv(
            inputs,
            outputs,
            (size, size),
            strides=stride,
            padding=inside,
            kernel_init=INITIALIZERS[initialization],
            dtype=dtype,
            rngs=rngs,
        )
        self.conv.use_bias = False  # it is there; `add_bias` adds it
        self.norm = Norm(norm, outputs)
        self.activation = Activation(activation)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x [batch, height, width, inputs] to [batch, height', width', outputs]."""
        if self.pad and self.padding != "zero":
            around = ((0, 0), (self.pad, self.pad), (self.pad, self.pad), (0, 0))
            x = jnp.pad(x, around, mode=PADDINGS[self.padding])
        x = self.conv(x)
        x = add_bias(x, self.conv.bias[...].astype(x.dtype))
        return self.activation(self.norm(x))


class ResidualBlock(nnx.Module):
    """x + conv3x3(act(conv3x3(x))): no norm, no activation after the sum."""

    def __init__(self, channels: int, *, padding: str, activation: str, **settings):
        self.conv_0 = ConvBlock(channels, channels, 3, pad=1, padding=padding, activation=activation, **settings)
        self.conv_1 = ConvBlock(channels, channels, 3, pad=1, padding=padding, **settings)

    def __call__(self, x: jax.Array) -> jax.Array:
        """Map x [batch, height, width, channel] to the same shape."""
        return x + self.conv_1(self.conv_0(x))


def average_pool(x: jax.Array) -> jax.Array:
    """3x3 stride-2 average over the pixels inside the image: [batch, h, w, c] -> [batch, ceil(h/2), ceil(w/2), c]."""
    return linen.avg_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)), count_include_pad=False)
