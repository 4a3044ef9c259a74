"""segflow: a self-configuring segmentation pipeline.

The folders are the method (Isensee et al., Nature Methods 2021), lower layers first:

contracts       what stages hand to each other
processes       pool of processes, signals, locks, leases of GPUs
recipes         fixed parameters
volumes         array mathematics: crop, resample, tiles, components
metrics         overlap counts and scores, distances of surfaces, a bootstrap over cases
network         a plan's architecture as a torch module, devices, processes that share a batch
augmentation    training patches: where to cut them, and their random transforms
losses          Dice, cross-entropy, deep supervision
storage         files that stages write and read again
images          image files and raw data sets
nnunet          the exchange with nnU-Net: plans, folds, checkpoints
phantom         a small synthetic data set
fingerprint     stage: data set -> fingerprint
planning        stage: fingerprint + recipe -> plan and folds (rule-based parameters)
preprocessing   stage: case -> network-ready case
training        stage: cases + plan -> weights
evaluation      stages: label maps + references -> scores, and what is measured beyond Dice
selection       stages: scores -> best model or pair, post-processing (empirical parameters)
reporting       stage: everything -> one page
workflow        what the rules share: configuration, digests of code, provenance
prediction      stage: weights + case -> label map; a model package, loaded
commands        the command line
"""

__version__ = "0.1.0"
