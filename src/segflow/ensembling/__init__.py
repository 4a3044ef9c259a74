"""Averages of several networks' probabilities, and the choice among candidates."""

from segflow.ensembling.average import average
from segflow.ensembling.choose import candidate_members, candidate_name, pair_name, select

__all__ = ["average", "candidate_members", "candidate_name", "pair_name", "select"]
