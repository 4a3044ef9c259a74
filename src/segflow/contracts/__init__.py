"""What stages exchange: frozen dataclasses in memory, frozen pydantic models in files."""
