"""The exchange with nnU-Net: plans, fingerprints, folds, checkpoints and the names of tensors."""
