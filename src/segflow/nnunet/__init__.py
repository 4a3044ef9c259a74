"""nnU-Net's file formats: plans, folds, checkpoints and results folders."""
