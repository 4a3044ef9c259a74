"""Labels of a data set: classes that exclude each other, or regions that may overlap. Source: method.md section 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from segflow.contracts.errors import DatasetError
from segflow.contracts.spelling import whole_number

__all__ = ["Labels", "Target", "members"]

#: A class (one label value) or a region (several).
Target = int | tuple[int, ...]


def members(target: Target) -> tuple[int, ...]:
    """The label values that make up a class or a region."""
    return target if isinstance(target, tuple) else (target,)


@dataclass(frozen=True)
class Labels:
    """The label section of a data set.

    Attributes:
        entries: (name, target) pairs in file order, background and ignore included.
        regions_class_order: The label value written for each region, later ones over earlier ones; or empty.
        notes: Warnings about how the file is written.
    """

    entries: tuple[tuple[str, Target], ...]
    regions_class_order: tuple[int, ...] = ()
    notes: tuple[str, ...] = field(default=(), repr=False, compare=False)

    @classmethod
    def from_json(cls, labels: Mapping[str, Any], regions_class_order: Any, *, where: str) -> Labels:
        """The labels of a dataset.json, checked.

        Args:
            labels: Name to label value, or to a list of values (a region), or "ignore" to a value.
            regions_class_order: The entry of that name, if any.
            where: The file, for messages.

        Raises:
            DatasetError: No background 0, values that are not whole numbers, gaps, two names for the same values, a
                wrong ignore value, or a wrong `regions_class_order`.
        """
        if labels and all(str(name).isdecimal() and isinstance(value, str) for name, value in labels.items()):
            swapped = ", ".join(f'"{name}": {value}' for value, name in labels.items())
            raise DatasetError(
                f"{where}: labels are the wrong way round: write {{{swapped}}}, names first, and the values "
                "without quotation marks"
            )
        entries = tuple((str(name), _target(name, value, where)) for name, value in labels.items())
        order = _order(regions_class_order, where)
        result = cls(entries, order, _notes([*labels.values(), regions_class_order or []], where))
        for fault in result._faults():
            raise DatasetError(f"{where}: {fault}")
        return result

    def _faults(self) -> Iterator[str]:
        named, values = dict(self.entries), self.values
        if isinstance(named.get("ignore"), tuple):
            yield '"ignore" must be a single whole number, not a list'
        if named.get("background") != 0:
            yield 'labels must contain "background": 0'
        if values != tuple(range(len(values))):
            yield f"label values must be consecutive from 0, found {list(values)}; renumber them"
        if self.ignore not in {None, len(values)}:
            yield f'"ignore" must be the highest label plus one ({len(values)}), found {self.ignore}'
        seen: dict[frozenset[int], str] = {}
        for name, target in self.entries:
            first = seen.setdefault(frozenset(members(target)), name)
            if first != name:
                same = sorted(members(target))
                yield f"labels '{first}' and '{name}' stand for the same values {same}; remove one"
        if self.has_regions:
            yield from self._faults_of_order()

    def _faults_of_order(self) -> Iterator[str]:
        order = self.regions_class_order
        if len(order) != len(self.targets):
            yield (
                "regions need 'regions_class_order' with one label value for each of the "
                f"{len(self.targets)} regions, found {len(order)}"
            )
        for value in order:
            if value not in self.foreground_values:
                yield (
                    f"'regions_class_order' holds {value}, which is not a foreground label; these are "
                    f"{list(self.foreground_values)}"
                )

    @property
    def as_json(self) -> dict[str, Any]:
        """The keys of dataset.json, with values as they are read."""
        values = {
            name: list(target) if isinstance(target, tuple) else target for name, target in self.entries
        }
        order = {"regions_class_order": list(self.regions_class_order)} if self.regions_class_order else {}
        return {"labels": values, **order}

    @property
    def has_regions(self) -> bool:
        """True if any entry unites several label values."""
        return any(isinstance(target, tuple) and len(target) > 1 for _, target in self.entries)

    @property
    def ignore(self) -> int | None:
        """The value of voxels that are not annotated, if there is one."""
        value = dict(self.entries).get("ignore")
        return value if isinstance(value, int) else None

    @property
    def values(self) -> tuple[int, ...]:
        """All label values but ignore, ascending, background first."""
        found = {value for name, target in self.entries if name != "ignore" for value in members(target)}
        return tuple(sorted(found))

    @property
    def foreground_values(self) -> tuple[int, ...]:
        """All label values but background and ignore, ascending."""
        return tuple(value for value in self.values if value != 0)

    @property
    def targets(self) -> tuple[Target, ...]:
        """What is scored and sampled: foreground labels in ascending order, or regions in file order."""
        if not self.has_regions:
            return self.foreground_values
        return tuple(
            target for name, target in self.entries if name != "ignore" and set(members(target)) != {0}
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Values that are written oddly, and regions written as a value that is not part of them."""
        if not self.has_regions:
            return self.notes
        regions = zip(self.target_names, self.targets, self.regions_class_order, strict=True)
        return self.notes + tuple(
            f"region '{name}' unites {list(members(target))}, but 'regions_class_order' writes it as {value}"
            for name, target, value in regions
            if value not in members(target)
        )

    @property
    def target_names(self) -> tuple[str, ...]:
        """The name of each target, in the order of `targets`."""
        names = {members(target): name for name, target in self.entries}
        return tuple(names.get(members(target), str(target)) for target in self.targets)

    @property
    def n_outputs(self) -> int:
        """Channels of the network's output: regions (sigmoid), or classes with background (softmax)."""
        return len(self.targets) if self.has_regions else len(self.values)

    @property
    def n_entries(self) -> int:
        """Entries of the file; used only by the planner's memory estimate (method.md section 2)."""
        return len(self.entries)


def _notes(values: list[Any], where: str) -> tuple[str, ...]:
    """A warning if a label value is a whole number, but not written as one."""
    single = [one for value in values for one in (value if isinstance(value, list | tuple) else [value])]
    odd = next((value for value in single if type(value) is not int), None)
    return (
        ()
        if odd is None
        else (f"{where}: the label value {odd!r} is read as {whole_number(odd)}; write it so",)
    )


def _order(value: Any, where: str) -> tuple[int, ...]:
    if value is None:
        return ()
    found = [whole_number(v) for v in value] if isinstance(value, list | tuple) else [None]
    if None in found:
        raise DatasetError(f"{where}: 'regions_class_order' must be a list of whole numbers, found {value!r}")
    return tuple(v for v in found if v is not None)


def _target(name: object, value: Any, where: str) -> Target:
    values = value if isinstance(value, list | tuple) else [value]
    found = tuple(v for v in map(whole_number, values) if v is not None)
    if not values or len(found) < len(values):
        raise DatasetError(
            f"{where}: label '{name}' must be a whole number or a list of them, found {value!r}"
        )
    return found if isinstance(value, list | tuple) else found[0]
