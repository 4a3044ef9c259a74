"""Stage: a raw case becomes arrays a network can read."""
