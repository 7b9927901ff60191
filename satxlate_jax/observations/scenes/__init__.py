"""Made-up but physically plausible scenes, as several satellites see them at the same moment.

A test bed, not a radiative-transfer model: every term is the simplest that shows the right relation between bands.
"""
