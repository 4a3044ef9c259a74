"""The recipes that come with segflow, as package data, so that an installed wheel has them too.

`nnunet.yaml` is a listing that nothing reads (`segflow.recipes.listing`). `config/recipes` is a link to this folder.
Being a package of its own, it does not count as code of the modules beside it.
"""
