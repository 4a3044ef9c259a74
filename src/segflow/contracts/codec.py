"""Base class of what is written to files; an unknown key is an error that suggests the nearest valid one."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from segflow.contracts.errors import SegflowError
from segflow.contracts.spelling import path_text

__all__ = ["Amount", "Contract", "Count", "PathText"]

#: Whole numbers from 1 to 2**31 - 1, and finite numbers above 0.
Count = Annotated[int, Field(ge=1, lt=2**31)]
Amount = Annotated[float, Field(gt=0, allow_inf_nan=False)]
PathText = Annotated[str, Field(min_length=1), AfterValidator(path_text)]

_UNSAFE = "'{path}': a name must be of letters, digits, '_', '.' and '-', as files are named after it (found {found!r})"
#: What pydantic adds to the path of a key, where there are several forms of its value.
_FORM = re.compile(r"(function-|constrained-|tuple\[|dict\[|literal\[|nullable\[)")

_NEAREST_CUTOFF = 0.5  # difflib's ratio, below which a suggestion would be misleading


class Contract(BaseModel):
    """Base of everything that is written to and read from files: frozen, and unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, ser_json_inf_nan="constants"
    )

    @classmethod
    def parse(cls, data: Any, *, where: str, error: type[SegflowError]) -> Self:
        """The contract from plain data, such as the content of a JSON or YAML file.

        Args:
            data: Plain data.
            where: The file, for the message.
            error: What to raise; the message names every fault and the path of its key.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as problem:
            lines = [_explain(cls, fault) for fault in problem.errors()]
            raise error(f"{where}: " + "; ".join(lines)) from None

    def to_json(self) -> str:
        """The contract as indented JSON text with a final newline."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2) + "\n"


def _explain(model: type[BaseModel], fault: Any) -> str:
    parts = (str(part) for part in fault["loc"] if not _FORM.match(str(part)))
    path = ".".join(repr(part)[1:-1] for part in parts)  # a line break in a key is none in the message
    if fault["type"] == "value_error" and not path:  # raised by a validator of the contract itself
        return str(fault["ctx"]["error"])
    if fault["type"] in {"tuple_type", "list_type"} and isinstance(fault["input"], str | int):
        return f"'{path}': it must be a list: write [{fault['input']}] (found {fault['input']!r})"
    if fault["type"] == "dict_type":
        return f"'{path}': it needs a value for each name: write {{NAME: {fault['input']}}} (found {fault['input']!r})"
    if fault["type"] == "string_pattern_mismatch":
        return _UNSAFE.format(path=path.removesuffix(".[key]"), found=fault["input"])
    if fault["type"] != "extra_forbidden":
        return f"'{path}': {fault['msg']} (found {fault['input']!r})"
    key = str(fault["loc"][-1])
    valid = _keys_at(model, fault["loc"][:-1])
    nearest = difflib.get_close_matches(key, valid, n=1, cutoff=_NEAREST_CUTOFF)
    hint = f"did you mean '{nearest[0]}'?" if nearest else f"valid keys are {', '.join(valid)}"
    return f"unknown key '{path}': {hint}"


def _keys_at(model: type[BaseModel], loc: tuple[Any, ...]) -> list[str]:
    """The keys that are valid at a path; positions in lists and keys of mappings lead to their entries."""
    for part in loc:
        field = _by_key(model).get(str(part))
        model = model if field is None else next(_models_in(field.annotation), model)
    return list(_by_key(model))


def _by_key(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation, however deeply nested in tuples, mappings and unions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)
