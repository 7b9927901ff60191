"""The report in a real headless browser: no console error, every image loads, tables sort. Needs Chromium."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from satxlate_jax.evaluation.report import Plots, environment
from tests.evaluation.test_evaluate import SMALL, evaluate, make_archive
from tests.random_run import save_random_run

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


PAGE = """
{% from "parts.html.j2" import page, table, figure %}
{% call page("a <title>") %}
{{ table(rows, {"name": "name", "value": "RMSE", "verdict": "verdict"}, marks="good") }}
{{ figure(drawn, "a 'picture' & its <caption>") }}
{% endcall %}
"""


def open_page(page, folder, *options):
    """The page as Chromium leaves it (stdout) and what it logs (stderr)."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [
        "--virtual-time-budget=5000",
        "--dump-dom",
        f"--user-data-dir={folder / 'profile'}",
        *options,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@needs_chromium
def test_tables_sort_images_load_and_nothing_is_logged(tmp_path):
    (tmp_path / "figures").mkdir()
    figure = Figure(figsize=(2, 2))
    figure.subplots().imshow(np.arange(9).reshape(3, 3))
    rows = [
        {"name": "b", "value": 10.0, "verdict": "model <better>", "good": "good"},
        {"name": "a", "value": float("nan"), "verdict": "", "good": ""},
        {"name": "c", "value": 9.0, "verdict": "", "good": ""},
        {"name": "d", "value": float("inf"), "verdict": "", "good": ""},
    ]
    drawn = Plots(tmp_path / "figures").draw("one", lambda: figure)
    page = tmp_path / "page.html"
    text = environment().from_string(PAGE).render(rows=pd.DataFrame(rows), drawn=drawn)
    page.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    seen = open_page(page, tmp_path)
    assert "CONSOLE" not in seen.stderr
    # 9 before 10 before infinity, the missing value last in both directions
    assert re.search(r'data-seen="cbda dbca true 1 0"', seen.stdout), re.findall("<body.*", seen.stdout)
    assert "model &lt;better&gt;" in seen.stdout and "<title>a &lt;title&gt;</title>" in seen.stdout


# Sorts every table by its last numeric column, both ways, and writes down what does not hold.
REPORT_PROBE = """
<script>
window.addEventListener('load', function () {
  var wrong = [], sorted = 0;
  document.querySelectorAll('table').forEach(function (table) {
    var heads = table.querySelectorAll('th'), column = Array.from(heads).findIndex(function (head) {
      return head.textContent.includes('RMSE') });
    if (column < 0) { return }
    [1, -1].forEach(function (sign) {
      heads[column].click();
      var values = Array.from(table.querySelectorAll('tbody tr')).map(function (row) {
        return Number(row.cells[column].textContent.replace(/\\u202f/g, '')) }).filter(function (value) {
        return !isNaN(value) });
      for (var i = 1; i < values.length; i++) {
        if (sign * (values[i] - values[i - 1]) < 0) { wrong.push(values.join(' ')) } }
    });
    sorted++;
  });
  var images = Array.from(document.images), loaded = images.filter(function (image) {
    return image.complete && image.naturalWidth > 50 }).length;
  var anchors = Array.from(document.querySelectorAll('nav a')).filter(function (link) {
    return !document.querySelector(link.getAttribute('href')) }).length;
  var wider = document.documentElement.scrollWidth - window.innerWidth;
  var paper = getComputedStyle(document.querySelector('section')).backgroundColor.match(/\\d+/)[0];
  var seen = [sorted, wrong.length, images.length - loaded, images.length, anchors, Math.max(wider, 0), paper];
  document.body.setAttribute('data-seen', seen.join(' '));
});
</script>
"""


@needs_chromium
def test_a_whole_report_in_the_browser(tmp_path):
    run = save_random_run(tmp_path / "run", SMALL, dim=4)
    root = make_archive(tmp_path / "archive")
    assert evaluate(run, root, tmp_path / "out", "--days", "33-34", "--samples", "2", source="G16", target="H8") == 0
    report = (tmp_path / "out" / "report.html").read_text()
    page = tmp_path / "page.html"
    page.write_text(report.replace("</body>", REPORT_PROBE + "</body>"), encoding="utf-8")
    seen = open_page(page, tmp_path, "--window-size=400,900", "--blink-settings=preferredColorScheme=0")
    assert "CONSOLE" not in seen.stderr
    found = map(int, re.search(r'data-seen="([\d ]+)"', seen.stdout)[1].split())
    tables, wrong, unloaded, images, broken, wider, paper = found
    assert wider == 0 and paper < 64  # nothing sticks out of a narrow window, and where the reader's pages are dark
    assert tables >= 3 and wrong == 0
    assert unloaded == 0 and images == len(list((tmp_path / "out" / "figures").iterdir())) > 5
    assert broken == 0
