"""Find L1G files in a directory tree: available, coincident and missing ones."""
