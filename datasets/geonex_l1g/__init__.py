"""GeoNEX L1G tiles as a TFDS data set of patches."""
