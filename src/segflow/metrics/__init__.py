"""Scores of a segmentation, and what they are where a class is in neither label map or in one of them only.

In neither, every score is NaN, and the case is part of no mean. In one only, Dice, IoU, normalised surface Dice and the
F1 score of lesions are 0, the distances HD95 and ASSD are NaN, and the difference of volumes is that of the one volume
and 0. Without a third axis there is no volume: NaN. Counts of voxels and of lesions are never NaN.
"""
