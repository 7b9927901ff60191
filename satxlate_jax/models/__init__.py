"""The networks, as functions of nested dicts of parameters; Flax NNX is not exposed. jax and flax only."""
