"""Rule-based parameters: from a fingerprint to a plan. Pure, without torch, in milliseconds."""
