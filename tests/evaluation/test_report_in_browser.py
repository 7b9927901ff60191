"""The report in a real headless browser: no console error, every image loads, tables sort. Needs Chromium."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from matplotlib.figure import Figure

from satxlate_jax.evaluation.figures import Figures
from satxlate_jax.evaluation.page import Marked, render_page, render_table

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium")

# Clicks the second head twice, then writes down what a reader would see.
PROBE = """
<script>
window.addEventListener('load', function () {
  var head = document.querySelectorAll('th')[1], rows = function () {
    return Array.from(document.querySelectorAll('tbody tr')).map(function (row) { return row.cells[0].textContent })
  };
  head.click(); var up = rows().join('');
  head.click(); var down = rows().join('');
  var images = Array.from(document.images).every(function (image) { return image.complete && image.naturalWidth > 50 });
  document.querySelector('figure img').click(); var zoomed = document.querySelectorAll('.zoom img').length;
  document.querySelector('.zoom').click(); var left = document.querySelectorAll('.zoom').length;
  document.body.setAttribute('data-seen', [up, down, images, zoomed, left].join(' '));
});
</script>
"""


@needs_chromium
def test_tables_sort_images_load_and_nothing_is_logged(tmp_path):
    (tmp_path / "figures").mkdir()
    figure = Figure(figsize=(2, 2))
    figure.subplots().imshow(np.arange(9).reshape(3, 3))
    rows = [
        {"name": "b", "value": 10.0, "note": Marked.of("model <better>", "good")},
        {"name": "a", "value": float("nan"), "note": ""},
        {"name": "c", "value": 9.0, "note": ""},
        {"name": "d", "value": float("inf"), "note": ""},
    ]
    table = render_table(rows, {"name": "name", "value": "RMSE", "note": "note"})
    body = table + Figures(tmp_path / "figures").embed(figure, "one", "a 'picture' & its <caption>")
    page = tmp_path / "page.html"
    page.write_text(render_page("a <title>", body).replace("</body>", PROBE + "</body>"), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += ["--virtual-time-budget=5000", "--dump-dom", f"--user-data-dir={tmp_path / 'profile'}", page.as_uri()]
    seen = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in seen.stderr
    # 9 before 10 before infinity, the missing value last in both directions
    assert re.search(r'data-seen="cbda dbca true 1 0"', seen.stdout), re.findall("<body.*", seen.stdout)
    assert "model &lt;better&gt;" in seen.stdout and "<title>a &lt;title&gt;</title>" in seen.stdout
