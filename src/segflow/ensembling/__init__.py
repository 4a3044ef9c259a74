"""Averages of several networks' probabilities, the choice among candidates, and how certain it is."""

from segflow.ensembling.average import average
from segflow.ensembling.bootstrap import bootstrap
from segflow.ensembling.choose import candidate_members, candidate_name, pair_name, select

__all__ = ["average", "bootstrap", "candidate_members", "candidate_name", "pair_name", "select"]
