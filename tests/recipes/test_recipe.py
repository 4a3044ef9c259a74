"""The default recipe holds the method's numbers."""

from __future__ import annotations

import pytest

from segflow.recipes.recipe import recipe_named

# (path, value) as in method.md sections 6.4-6.6, 12-16
VALUES = [
    ("planning.memory_3d", 560e6),
    ("planning.memory_2d", 85e6),
    ("planning.reference_batch_3d", 2),
    ("planning.reference_batch_2d", 12),
    ("planning.gpu_memory_gb", 8),
    ("planning.dataset_share", 0.05),
    ("planning.max_features_3d", 320),
    ("planning.max_features_2d", 512),
    ("training.epochs", 1000),
    ("training.iterations", 250),
    ("training.validation_iterations", 50),
    ("training.learning_rate", 0.01),
    ("training.schedule_exponent", 0.9),
    ("training.momentum", 0.99),
    ("training.weight_decay", 3e-5),
    ("training.gradient_clip_norm", 12),
    ("training.foreground_share", 0.33),
    ("augmentation.rotation_3d_deg", 30),
    ("augmentation.rotation_2d_deg", 180),
    ("augmentation.scaling", (0.7, 1.4)),
    ("augmentation.gamma_split", (0.7, 1.5)),
    ("planning.low_resolution_step", 1.03),
    ("planning.max_poolings", None),
    ("training.loss", "dice_ce"),
    ("training.schedule_epochs", None),
    ("training.patience", None),
    ("augmentation.p_elastic", 0),
    ("inference.step", 0.5),
    ("inference.gaussian_sigma", 1 / 8),
    ("inference.mirroring", True),
    ("selection.prefer_single_within", 0),
    ("postprocessing.largest_component", True),
    ("postprocessing.remove_below_mm3", ()),
    ("postprocessing.fill_holes", False),
]


@pytest.mark.parametrize(("path", "value"), VALUES, ids=[path for path, _ in VALUES])
def test_value(path, value):
    found = recipe_named("nnunet")
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value
