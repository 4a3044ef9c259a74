"""What README and documentation name exists: verbs, options, keys of the configuration."""

from __future__ import annotations

import pytest
from snippets import PAGES, faults


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page):
    assert not list(faults(page))


def test_what_does_not_exist_is_found(monkeypatch):
    text = (
        "segflow[colours] `segflow paint` "
        "`segflow plan --colour` `training.epoch`\n```bash\nA=1 segflow plan --colours 3 && "
        "segflow run D training.epochss=3\n```\n```yaml\ntraining: {iteration: 3}\n```\n```yaml\nfold: 3\n```\n"
    )
    monkeypatch.setitem(PAGES, "page", text)
    found = [fault.split(":")[0] for fault in faults("page")]
    assert found == [
        "segflow plan --colours", "training.epochss", "training.iteration", "block", "segflow paint",
        "segflow plan --colour", "training.epoch", "segflow[colours]",
    ]  # fmt: skip
