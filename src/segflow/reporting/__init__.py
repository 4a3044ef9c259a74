"""Stage: the report, one page about an experiment; the summary on the terminal; the picture of a training."""
