"""`python -m fuzz TARGET ... --minutes N --seed S`: inputs per target and what escaped, which is kept in fuzz/found."""

from __future__ import annotations

import argparse
import sys

from fuzz.run import fuzz, save
from fuzz.targets import TARGETS


def main() -> int:
    """1 if anything escaped."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (default: all)"
    )
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target (default: 1)")
    parser.add_argument(
        "--seed", type=int, default=0, help="the same seed gives the same inputs (default: 0)"
    )
    words = parser.parse_args()
    unknown = set(words.targets) - set(TARGETS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    escaped = 0
    for name in words.targets or TARGETS:
        outcome = fuzz(name, seconds=60 * words.minutes, seed=words.seed)
        said = ", ".join(f"{count} {kind}" for kind, count in sorted(outcome.counts.items()))
        print(
            f"{name}: {outcome.counts.total()} inputs ({said}), {len(outcome.escapes)} kinds of escape",
            flush=True,
        )
        for file, text in zip(save(name, outcome), outcome.escapes, strict=True):
            print(f"  {file}: {text.strip().splitlines()[-1]}", flush=True)
        escaped += len(outcome.escapes)
    return int(escaped > 0)


if __name__ == "__main__":
    sys.exit(main())
