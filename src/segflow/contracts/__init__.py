"""What stages hand to each other: small frozen dataclasses, no policy, no files."""
