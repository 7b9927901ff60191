"""What the instruments saw: satellites, L1G files, catalogs, tiles, simulated scenes.

numpy and xarray only, no jax and no tensorflow.
"""
