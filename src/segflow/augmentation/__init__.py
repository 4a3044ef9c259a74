"""Random transforms of training patches: everything random is drawn first, then applied."""
