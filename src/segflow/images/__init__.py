"""Image files and raw data sets: reading and writing, one small file per family of formats."""
