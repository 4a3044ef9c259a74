"""Array mathematics without policy: crop, resample, tiles, label maps, components."""
