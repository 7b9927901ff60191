"""One L1G file <-> xarray.Dataset in physical units."""
