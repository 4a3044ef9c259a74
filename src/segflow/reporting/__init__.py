"""Stage: the report, one page about an experiment; the forecast in words; the picture of a training."""
