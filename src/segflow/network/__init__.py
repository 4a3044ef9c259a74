"""A plan's architecture as a torch module (plain and residual U-Nets in two and three dimensions), and where it computes."""
