"""The networks, as functions of nested dicts of parameters; Flax NNX stays inside.

jax and flax only.
"""
