"""The training loss: Dice and cross-entropy, over classes or regions, at several resolutions."""
