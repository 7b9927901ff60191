"""The chips that runs are planned for, as frozen data, what bounds a step on them, and how to compile for a machine.

Sources: Cloud TPU's pages 'TPU v4', 'TPU v5e', 'TPU v5p' and 'TPU v6e' (system architecture, key chip specifications).
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import jax


@dataclass(frozen=True)
class Chip:
    """One accelerator chip.

    Attributes:
      name: as topologies name it.
      peak: bfloat16 operations per second; float32 convolutions run at it too, in bfloat16 passes, by default.
      memory: bytes of high-bandwidth memory.
      bandwidth: of that memory, bytes per second.
      interconnect: bytes per second between chips, all links of one chip together.
    """

    name: str
    peak: float
    memory: float
    bandwidth: float
    interconnect: float


CHIPS: Mapping[str, Chip] = MappingProxyType(
    {
        chip.name: chip
        for chip in (
            Chip("v4", 275e12, 32e9, 1228e9, 300e9),
            Chip("v5e", 197e12, 16e9, 819e9, 200e9),
            Chip("v5p", 459e12, 95e9, 2765e9, 600e9),
            Chip("v6e", 918e12, 32e9, 1640e9, 448e9),
        )
    }
)


# XLA gives convolutions on CPUs to YNNPACK where it can, whose gradient with respect to the weights is three times
# slower than that of XLA itself (jaxlib 0.10.2, 3x3, 64 to 64 channels: 30 against 94 G/s on one core).
_CPU_OPTIONS = {"xla_cpu_experimental_ynn_fusion_type": ""}


@functools.cache
def compiler_options(platform: str) -> dict[str, str]:
    """What to compile training steps with; empty where the compiler does not know the option.

    Args:
      platform: of the devices: 'cpu', 'gpu' or 'tpu'.
    """
    if platform != "cpu":
        return {}
    try:
        jax.jit(lambda x: x, compiler_options=_CPU_OPTIONS).lower(0.0).compile()
    except jax.errors.JaxRuntimeError:
        return {}
    return dict(_CPU_OPTIONS)


def roofline(chip: Chip, operations: float, memory_bytes: float, reduced_bytes: float, chips: int) -> dict[str, float]:
    """The least time a step can take on a chip, by what bounds it.

    Args:
      chip: which.
      operations: of one chip in one step.
      memory_bytes: that one chip moves to and from its memory in one step.
      reduced_bytes: size of what is all-reduced; a ring moves it twice.
      chips: how many take part.

    Returns:
      'arithmetic', 'memory' and 'network', seconds.
    """
    return {
        "arithmetic": operations / chip.peak,
        "memory": memory_bytes / chip.bandwidth,
        "network": 2 * reduced_bytes * (chips - 1) / chips / chip.interconnect,
    }
