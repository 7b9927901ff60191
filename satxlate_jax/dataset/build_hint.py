"""Format the `tfds build` command of a data set for messages."""

import json
import os
import shlex
from collections.abc import Mapping
from typing import Any

from satxlate_jax.instruments import SATELLITES
from satxlate_jax.shipped import BUILDER, typed_path

DATASET = "geonex_l1g"


def describe_build(
    name: str,
    options: Mapping[str, Any] | None,
    data_dir: str | os.PathLike,
    *,
    root: str | os.PathLike = "L1G_ROOT",
    domain: str | None = None,
    again: bool = False,
) -> str:
    """The command that builds a data set, and how training finds it where that is not plain.

    Args:
      name: of the data set.
      options: those of `Selection`; None where the name is that of a built-in configuration, which shall be built.
      data_dir: tfds' data_dir.
      root: the archive.
      domain: the satellite as training calls it, such as 'H8_15'; default the data set's satellite.
      again: whether a data set of that name may be there, to be replaced.
    """
    use, config = "", name
    if options is not None:
        if name in SATELLITES:  # the built-in configuration's options are fixed
            name = f"{options['satellite']}_custom"
            use = f" and train with --config.data.datasets.{domain or options['satellite']}={name}"
        config = shlex.quote(json.dumps({"name": name, **options}))
    root, data_dir = shlex.quote(os.fspath(root)), shlex.quote(os.fspath(data_dir))
    command = (
        f"tfds build {shlex.quote(typed_path(BUILDER))} --config={config} --manual_dir={root} --data_dir={data_dir}"
    )
    return command + (" --overwrite" if again else "") + use
