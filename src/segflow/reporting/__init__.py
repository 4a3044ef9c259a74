"""Everything that was decided and measured, as one page for a browser and as a few lines for a terminal."""
