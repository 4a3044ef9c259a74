"""What a paper takes from a run: a methods paragraph, its references, figures."""
