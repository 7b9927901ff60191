"""Figures on disk and in the page."""

import base64
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from satxlate_jax import atomic
from satxlate_jax.cli import InputError
from satxlate_jax.evaluation.report_page import escape


def save_figure(figure: Figure, path: Path) -> bytes:
    """Writes a figure as PNG under a temporary name, then renames it; returns what was written.

    Raises:
      InputError: it cannot be written.
    """
    canvas, packed = FigureCanvasAgg(figure), io.BytesIO()
    canvas.draw()
    Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).save(packed, format="png")
    atomic.write_bytes(path, packed.getvalue())
    return packed.getvalue()


class Figures:
    """Draws figures into a folder and hands them to the page as embedded images.

    Attributes:
      failed: names of the files that could not be drawn.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self.failed: list[str] = []

    def draw(self, draw: Callable[[], Figure | None], name: str, caption: str) -> str:
        """Draws a figure and embeds it; '' where there is nothing to draw.

        One that cannot be drawn costs only itself: the page and stderr say so, and the report goes on.

        Raises:
          InputError: the disk does not take it, or drawing says so.
        """
        try:
            figure = draw()
            return "" if figure is None else self.embed(figure, name, caption)
        except InputError:
            raise
        except Exception as error:  # whatever the drawing library raises: hours of scoring wait for their report
            self.failed.append(f"{name}.png")
            words = f"{name}.png could not be drawn ({type(error).__name__}: {error})"
            print(words, file=sys.stderr)
            return f'<p class="bad">{escape(words)}</p>'

    def embed(self, figure: Figure, name: str, caption: str) -> str:
        """Saves a figure as NAME.png and returns it as HTML."""
        written = save_figure(figure, self._folder / f"{name}.png")
        source = f"data:image/png;base64,{base64.b64encode(written).decode()}"
        words = escape(caption)
        return f'<figure><img alt="{words}" src="{source}"><figcaption>{words}</figcaption></figure>'
