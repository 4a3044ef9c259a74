"""The pictures of a report: in the page if they are small, else in files beside it; every case is read once."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import replace
from urllib.parse import unquote

import numpy as np
import pytest
from case_samples import labels_of
from image_samples import save
from report_samples import model_card, plan, summary
from stage_calls import in_this_process

from segflow.commands import gallery, raw_cases
from segflow.commands.outcome import Outcome
from segflow.contracts.case import Case
from segflow.contracts.labels import Labels

ODD = "=case #2 <b>%20\N{LATIN SMALL LETTER A WITH DIAERESIS}"
NAMES = ("case_0", "case_1", ODD, "unscored")


@pytest.fixture
def finished(tmp_path):
    """An experiment that predicted three of four cases: well, empty, and with classes exchanged."""
    reference = np.zeros((4, 12, 10), np.uint8)
    reference[1:3, 2:6, 3:8], reference[1:3, 7:10, 3:8] = 1, 2
    predictions = (reference, 0 * reference, np.array([0, 2, 1], np.uint8)[reference])
    cases = []
    for name in NAMES:
        image = save(tmp_path / f"{name}_0000.nii.gz", reference.astype(np.float32) * 50, (3.0, 1.0, 1.0))
        cases.append(Case(name, (image,), save(tmp_path / f"{name}.nii.gz", reference)))
    (tmp_path / "final").mkdir()
    for name, prediction in zip(NAMES, predictions, strict=False):
        save(tmp_path / "final" / f"{name}.nii.gz", prediction)
    scores = summary((1.0, 1.0), (0.0, 0.0), (0.0, 0.0), labels=labels_of(2))
    named = [
        case.model_copy(update={"prediction_file": f"elsewhere/{name}.nii.gz"})
        for name, case in zip(NAMES, scores.metric_per_case, strict=False)
    ]
    description = {"file_ending": ".nii.gz", "channel_names": {"0": "CT"}}
    scores = scores.model_copy(update={"metric_per_case": tuple(named)})
    return Outcome(tmp_path, model_card("2d"), labels_of(2), description, scores, plan()), cases


def addresses(found):
    """Of all pictures of a gallery."""
    large = [address for o in found.overlays for address in (*(p.source for p in o.pictures), o.slices)]
    return [*(thumbnail.source for thumbnail in found.thumbnails.values()), *large]


def test_small_pictures_are_part_of_the_page(finished):
    found, files = gallery.make_gallery(*finished, beside="report", large=5, workers=2)
    assert files == {}
    assert [fact.case for fact in found.facts] == list(found.thumbnails) == list(NAMES)
    assert [overlay.rank for overlay in found.overlays] == ["best", "median", "worst"]
    shown = addresses(found)
    for address in shown:
        head, _, content = address.partition(",")
        assert head == "data:image/jpeg;base64"
        assert base64.b64decode(content).startswith(b"\xff\xd8")
    assert [fact.case for fact in found.facts if fact.doubts] == [ODD]
    assert found.facts[0].volumes == found.facts[0].predicted == pytest.approx((0.12, 0.09))
    assert (found.facts[3].predicted, found.thumbnails["unscored"].note) == ((), "image, reference")


def test_predictions_in_voxels_without_annotation_are_not_measured(finished):
    outcome, cases = finished
    outcome = replace(outcome, labels=Labels((("background", 0), ("c1", 1), ("ignore", 2))))
    found, _ = gallery.make_gallery(outcome, cases, beside="report", large=0, workers=1)
    well, _, exchanged, _ = found.facts
    assert well.volumes == well.predicted == pytest.approx((0.12,))
    assert exchanged.predicted == (0.0,)


def test_large_ones_lie_beside_it(finished, monkeypatch):
    monkeypatch.setattr(gallery, "_EMBEDDED_BYTES", 0)
    found, files = gallery.make_gallery(*finished, beside="my report", large=1, workers=1)
    shown = addresses(found)
    assert Counter(map(unquote, shown)) == Counter(f"my report/{name}" for name in files)
    assert found.thumbnails[ODD].source == "my%20report/pictures/%3Dcase%20%232%20%3Cb%3E%2520%C3%A4.jpg"
    assert sum(name.startswith("pictures/large/") for name in files) == 3 * (2 * 3 + 1)


def test_every_file_is_read_once(finished, monkeypatch):
    read: Counter[str] = Counter()

    def count(name):
        function = getattr(gallery, name)
        first = (lambda files: files[0]) if name == "read_image" else (lambda file: file)
        monkeypatch.setattr(
            gallery, name, lambda what, **rest: read.update([str(first(what))]) or function(what, **rest)
        )

    count("read_image")
    count("read_labels")
    monkeypatch.setattr(raw_cases, "map_cases", in_this_process)
    gallery.make_gallery(*finished, beside="report", large=2, workers=1)
    assert set(read.values()) == {1}
    assert len(read) == 4 + 4 + 3
