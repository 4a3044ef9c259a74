"""A model package, loaded: from an image to its label map. `from segflow.prediction import Predictor`."""
