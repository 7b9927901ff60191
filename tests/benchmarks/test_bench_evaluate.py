"""`satxlate bench evaluate` measures an archive of a few pairs, and needs two."""

import re
from datetime import datetime

from satxlate_jax.__main__ import main
from tests.archives import write_archive
from tests.random_run import save_random_run

BANDS = {"G16": (3, 13), "G17": (3, 13)}


def test_the_cost_of_a_pair_is_told(tmp_path, capsys):
    run = save_random_run(tmp_path / "run", BANDS, dim=4)
    write_archive(tmp_path / "l1g", BANDS, ["h02v05"], [datetime(2019, 1, day, 22) for day in range(1, 5)])
    words = ["bench", "evaluate", "--checkpoint", str(run), "--source=G16", "--target=G17", f"--l1g={tmp_path / 'l1g'}"]
    assert not main([*words, "--pairs=4"])
    printed = capsys.readouterr().out
    found = re.search(r"reading ([\d.]+) s, translating ([\d.]+) s \(CPU ([\d.]+)\), scoring", printed)
    assert found, printed
    assert all(float(number) > 0 for number in found.groups())
    # Two pairs more can take less time than two, by chance: then the report says that it cannot tell.
    assert re.search(r"takes ([\d.]+ times both \(target 2: (met|missed)|-[\d.]+ .*: not measurable)", printed), printed
    assert re.search(r"after 2 pairs, [\d,]+ MB after 4", printed)
    for path in (tmp_path / "l1g").rglob("GO17*2019010[2-4]*"):
        path.unlink()
    assert main(words) == 2
    assert "two are needed" in capsys.readouterr().err
