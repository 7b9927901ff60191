"""Simulated but physically plausible scenes, as several satellites see them at the same time."""
