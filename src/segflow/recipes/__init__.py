"""Fixed parameters: what the method decides before it sees the data. Frozen pydantic models hold their defaults."""
