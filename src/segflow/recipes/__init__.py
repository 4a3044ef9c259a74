"""Fixed parameters: what the method decides before it sees the data.

Named recipes and recipe files are read by `segflow.recipes.files`, which needs a YAML parser and is not passed on here.
"""
