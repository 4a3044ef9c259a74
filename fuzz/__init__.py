"""Fuzzing of all that reads files: `python -m fuzz TARGET --minutes 10`. Parsers are listed in `fuzz/targets.py`."""
