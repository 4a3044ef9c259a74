"""segflow: a self-configuring segmentation pipeline.

The folders are the method (Isensee et al., Nature Methods 2021), lower layers first:

contracts       what stages hand to each other
recipes         fixed parameters
volumes         array mathematics: crop, resample, tiles, components
metrics         overlap counts and scores, distances of surfaces
network         a plan's architecture as a torch module
augmentation    random transforms: draw, then apply
sampling        where to cut a training patch
losses          Dice, cross-entropy, deep supervision
phantom         a small synthetic data set
fingerprint     stage: data set -> fingerprint
planning        stage: fingerprint + recipe -> plan (rule-based parameters)
preprocessing   stage: case -> network-ready case
training        stage: cases + plan -> weights
inference       stage: weights + case -> logits
export          stage: logits -> label map in the original space
evaluation      stage: label maps -> scores
ensembling      stage: scores -> best model or pair (empirical parameters)
postprocessing  stage: label maps -> operations that pay (empirical parameters)
reporting       stage: everything -> one page
prediction      a model package, loaded: image -> label map
workflow        what the rules share: configuration, chunks, code digests, GPU leases, provenance
io              files: images, data sets, plans, stored cases, weights
commands        one file per command line verb
"""

__version__ = "0.1.0"
