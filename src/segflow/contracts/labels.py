"""The labels of a data set: classes that exclude each other, or regions that may overlap.

Source: method.md section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segflow.contracts.errors import DatasetError

__all__ = ["Labels", "Target"]

#: A class (one label value) or a region (several).
Target = int | tuple[int, ...]


@dataclass(frozen=True)
class Labels:
    """The label section of a data set.

    Attributes:
        entries: (name, target) pairs in file order, background and ignore included.
        regions_class_order: The label value written for each region, later ones over earlier ones; or empty.
    """

    entries: tuple[tuple[str, Target], ...]
    regions_class_order: tuple[int, ...] = ()

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
        result = cls(entries, _order(regions_class_order, where))
        result._check(where)
        return result

    def _check(self, where: str) -> None:
        if isinstance(dict(self.entries).get("ignore"), tuple):
            raise DatasetError(f'{where}: "ignore" must be a single whole number, not a list')
        if dict(self.entries).get("background") != 0:
            raise DatasetError(f'{where}: labels must contain "background": 0')
        expected = tuple(range(len(self.values)))
        if self.values != expected:
            raise DatasetError(
                f"{where}: label values must be consecutive from 0, found {list(self.values)}; renumber them"
            )
        if self.ignore is not None and self.ignore != len(self.values):
            raise DatasetError(
                f'{where}: "ignore" must be the highest label plus one ({len(self.values)}), found {self.ignore}'
            )
        self._check_names(where)
        if self.has_regions:
            self._check_order(where)

    def _check_names(self, where: str) -> None:
        seen: dict[frozenset[int], str] = {}
        for name, target in self.entries:
            members = frozenset(_members(target))
            if members in seen:
                raise DatasetError(
                    f"{where}: labels '{seen[members]}' and '{name}' stand for the same values {sorted(members)}; "
                    "remove one"
                )
            seen[members] = name

    def _check_order(self, where: str) -> None:
        if len(self.regions_class_order) != len(self.targets):
            raise DatasetError(
                f"{where}: regions need 'regions_class_order' with one label value for each of the "
                f"{len(self.targets)} regions, found {len(self.regions_class_order)}"
            )
        unknown = [value for value in self.regions_class_order if value not in self.foreground_values]
        if unknown:
            raise DatasetError(
                f"{where}: 'regions_class_order' holds {unknown[0]}, which is not a foreground label; these are "
                f"{list(self.foreground_values)}"
            )

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
        found = {value for name, target in self.entries if name != "ignore" for value in _members(target)}
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
            target for name, target in self.entries if name != "ignore" and set(_members(target)) != {0}
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """Regions that are written as a value that is not part of them, which is allowed but unusual."""
        if not self.has_regions:
            return ()
        written = zip(self.target_names, self.targets, self.regions_class_order, strict=True)
        return tuple(
            f"region '{name}' unites {list(_members(target))}, but 'regions_class_order' writes it as {value}"
            for name, target, value in written
            if value not in _members(target)
        )

    @property
    def target_names(self) -> tuple[str, ...]:
        """The name of each target, in the order of `targets`."""
        names = {_members(target): name for name, target in self.entries}
        return tuple(names.get(_members(target), str(target)) for target in self.targets)

    @property
    def n_outputs(self) -> int:
        """Channels of the network's output: regions (sigmoid), or classes with background (softmax)."""
        return len(self.targets) if self.has_regions else len(self.values)

    @property
    def n_entries(self) -> int:
        """Entries of the file; used only by the planner's memory estimate (method.md section 2)."""
        return len(self.entries)


def _members(target: Target) -> tuple[int, ...]:
    return target if isinstance(target, tuple) else (target,)


def _order(value: Any, where: str) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple) or not all(type(v) is int for v in value):
        raise DatasetError(f"{where}: 'regions_class_order' must be a list of whole numbers, found {value!r}")
    return tuple(value)


def _target(name: object, value: Any, where: str) -> Target:
    members = value if isinstance(value, list | tuple) else [value]
    if not members or not all(isinstance(v, int) and not isinstance(v, bool) for v in members):
        raise DatasetError(
            f"{where}: label '{name}' must be a whole number or a list of them, found {value!r}"
        )
    return tuple(members) if isinstance(value, list | tuple) else int(value)
