"""What stages hand to each other: frozen dataclasses in memory, frozen pydantic models where it is written to files."""
