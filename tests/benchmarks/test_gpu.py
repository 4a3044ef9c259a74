"""The benchmark of a GPU runs to its end where there is none, so that nothing trivial stops it where there is one."""

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_section_in_small_on_the_cpu(repository, tmp_path):
    words = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--tiny", "--output", str(tmp_path)]
    done = subprocess.run(words, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    sections = json.loads((tmp_path / "gpu.json").read_text())["sections"]
    assert list(sections) == ["tests", "fit", "speed", "prediction", "learning"]
    said = " ".join(row["what"] for rows in sections.values() for row in rows)
    assert "cut off" not in said
    assert "not run" not in said
    assert [len(sections[name]) for name in ("fit", "speed", "prediction", "learning")] == [8, 24, 2, 1]
    assert (tmp_path / "gpu.md").read_text() in done.stdout + "\n"
