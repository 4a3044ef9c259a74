"""From a case to its label map: the sliding window, scores on the image's own grid, a model package as a whole."""
