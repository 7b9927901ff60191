"""The chips that runs are planned for, as frozen data, and what bounds a step on them.

Sources: Cloud TPU's pages 'TPU v4', 'TPU v5e', 'TPU v5p' and 'TPU v6e' (system architecture, key chip specifications).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


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
