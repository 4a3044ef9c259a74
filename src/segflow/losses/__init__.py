"""What training minimises: Dice and cross-entropy, over classes or regions, at several resolutions."""
