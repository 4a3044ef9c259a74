"""The model card: what is known is said, what is not is said to be unknown."""

from __future__ import annotations

from report_samples import LABELS, bootstrap, candidate, model_card

from segflow.contracts.fingerprint import Fingerprint
from segflow.contracts.scores import Operation, Selection
from segflow.reporting.model_card import model_card_text

DESCRIPTION = {"channel_names": {"0": "T1", "1": "T|2"}, "numTraining": 20}
FINGERPRINT = Fingerprint(
    foreground_intensity_properties_per_channel={},
    median_relative_size_after_cropping=1.0,
    shapes_after_crop=((10, 20, 30), (12, 20, 30), (14, 20, 30)),
    spacings=((3.0, 1.0, 1.0), (3.5, 1.0, 1.0), (5.0, 1.0, 1.0)),
)


def section(text, heading):
    return text.split(f"## {heading}\n\n")[1].split("\n\n## ")[0].strip()


def test_what_is_known():
    best, other = candidate("3d_fullres", 0.8), candidate("2d", 0.6)
    selection = Selection(best=best, candidates=(other, best), bootstrap=bootstrap())
    card = model_card(
        "3d_fullres",
        Operation(name="keep_largest", labels=(1, 2)),
        selection=selection,
        stages=("3d_lowres",),
    )
    more = {"licence": "CC-BY-SA 4.0", "reference": "Somebody 2019", "description": "heads of newborns"}
    text = model_card_text(card, DESCRIPTION | more, LABELS, FINGERPRINT, has_spacing=True)
    assert text.startswith("# sample, 3d_fullres\n")
    assert "heads of newborns" in section(text, "Intended use")
    assert "| Channels | T1, T\\|2 |\n| Cases | 20 |" in section(text, "Data")
    assert "median | 3.5 \N{MULTIPLICATION SIGN} 1 \N{MULTIPLICATION SIGN} 1 mm |" in section(text, "Data")
    assert "| organ | 1 |" in section(text, "Labels")
    assert "| **3d_fullres** | 0.800 | 0.710 to 0.880 |" in section(text, "Scores")
    assert "| 2d | 0.600 |" in section(text, "Scores")
    assert "keep the largest component of 1 and 2) changes it from 0.500 to 0.600" in section(text, "Scores")
    assert "| Previous stage | 3d_lowres |" in section(text, "Networks")
    assert section(text, "Licence") == "CC-BY-SA 4.0"
    assert section(text, "Citation").startswith("- Somebody 2019\n- Isensee")


def test_what_is_not_known():
    best = candidate("2d", float("nan"))
    card = model_card("2d", selection=Selection(best=best, candidates=(best,)))
    text = model_card_text(card, DESCRIPTION, LABELS, None, has_spacing=True)
    assert section(text, "Scores").startswith("Not known")
    assert section(text, "Licence").startswith("Not stated")
    assert "| Post-processing | none |" in text
    assert "Voxel" not in text
    assert "nan" not in text


def test_voxel_sizes_only_where_they_are_known():
    card = model_card("2d")
    flat = FINGERPRINT.model_copy(
        update={"shapes_after_crop": ((1, 20, 30),) * 3, "spacings": ((999.0, 1.0, 1.0),) * 3}
    )
    data = section(model_card_text(card, DESCRIPTION, LABELS, flat, has_spacing=False), "Data")
    assert "Voxel size" not in data
    assert "| Voxels (y, x) after cropping, median | 20 \N{MULTIPLICATION SIGN} 30 |" in data
    assert "| Voxel size (y, x), median | 1 " in model_card_text(
        card, DESCRIPTION, LABELS, flat, has_spacing=True
    )
