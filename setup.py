"""What pyproject.toml cannot say: a wheel takes along configs/ and datasets/, which lie outside the package."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithShared(build_py):
    """Copy both below satxlate_jax/share, where satxlate_jax/shipped.py looks; an editable install needs no copy."""

    def run(self):
        """Do as setuptools does, then copy."""
        super().run()
        unwanted = shutil.ignore_patterns("__pycache__", "*_test.py", "dummy_data")
        for folder in () if self.editable_mode else ("configs", "datasets"):
            place = Path(self.build_lib, "satxlate_jax", "share", folder)
            shutil.copytree(folder, place, ignore=unwanted, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithShared})
