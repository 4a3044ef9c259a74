"""The recipes that come with segflow, a YAML file each.

They lie inside the package, as its data: so an installed wheel has them as a checkout does, and a workflow that is
deployed without its `config/` finds them too. `config/recipes` is a link to this folder, for people; nothing reads
it, so nothing is lost where git makes no links. This file makes the folder a package of its own, so that a change of a
recipe does not count as a change of the code beside it (`segflow.workflow.code`).
"""
