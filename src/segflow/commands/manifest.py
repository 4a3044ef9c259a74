"""`segflow manifest`: sum up the prepared cases of all chunks."""

from __future__ import annotations

from segflow.commands.arguments import InputFile, ResultFile
from segflow.storage.manifests import write_prepared


def manifest(*, chunks: list[InputFile], output: ResultFile) -> None:
    """Sum up the prepared cases of all chunks in one small file, which changes if any of them does.

    Args:
        chunks: Manifest of every chunk.
        output: prepared.json, beside the chunks' folder.
    """
    write_prepared(output, chunks)
