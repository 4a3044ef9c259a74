"""Stages: label maps and references to scores, and to what is measured beyond Dice."""
