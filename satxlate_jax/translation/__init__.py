"""From an observed tile to another satellite's tile, with a trained run."""
