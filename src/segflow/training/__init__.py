"""Stage: cases and a plan's configuration -> weights."""
