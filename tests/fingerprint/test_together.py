"""What only all cases of a data set together show."""

from __future__ import annotations

from segflow.contracts.artefacts import CheckedCase
from segflow.contracts.labels import Labels
from segflow.fingerprint.consistency import absent_labels, equal_images


def checked(identifier, *digests, values=(0, 1)):
    return CheckedCase(
        identifier=identifier,
        images={f"imagesTr/{identifier}_000{number}": digest for number, digest in enumerate(digests)},
        label={},
        shape=(1, 1, 3),
        spacing_mm=(1, 1, 1),
        label_values=values,
    )


def test_equal_images():
    cases = [checked("a", "x", "y"), checked("b", "y", "x"), checked("c", "x", "y"), checked("d", "x", "z")]
    assert equal_images(cases) == ("cases a, c have the same images, byte by byte",)
    assert equal_images(cases[:2]) == ()


def test_absent_labels():
    labels = Labels((("background", 0), ("a", 1), ("whole", (2, 3)), ("b", 4), ("ignore", 5)))
    cases = [checked("a", "x", values=(0, 1)), checked("b", "y", values=(0, 2, 5))]
    assert absent_labels(cases, labels) == ("label 3 occurs in no case", "label 4 (b) occurs in no case")
    assert absent_labels([*cases, checked("c", "z", values=(3, 4))], labels) == ()
