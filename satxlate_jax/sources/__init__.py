"""Public Level-1b files, read with satpy, to satpy Scenes and GeoNEX tiles, and back to Scenes."""
