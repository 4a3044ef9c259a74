"""The files that `segflow predict` writes: their names, and what may not be overwritten."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from segflow.commands.raw_cases import warn
from segflow.contracts.case import Case
from segflow.contracts.errors import ConfigurationError, PredictionError
from segflow.contracts.model import ClassStatistics, Prediction
from segflow.images.case_files import Inputs
from segflow.images.formats import DICOM, LOSSY_ENDINGS, ending_of, format_of, label_ending, split_name
from segflow.storage.files import cell_text, read_contract, read_json, write_json, write_text
from segflow.storage.results import Entry

__all__ = ["OPTIONAL", "Outputs", "part_of"]

#: What may be written of a case beside its label map, and the ending of its file.
OPTIONAL = {"probabilities": ".npz", "statistics": ".json", "preview": ".png"}


@dataclass(frozen=True)
class Outputs:
    """Names in a folder; or beside a label map that is named itself, all of which begin with its name.

    Attributes:
        folder: Of all files.
        single: The label map of the only case, if it was named.
        shard: Number and count.
        ending: Of label maps that are not in the format of their images.
    """

    folder: Path
    single: Path | None
    shard: tuple[int, int]
    ending: str = ""

    @classmethod
    def at(cls, output: Path, inputs: Inputs, shard: tuple[int, int], ending: str = "") -> Outputs:
        """Those of a call, where no image is in the way.

        Raises:
            ConfigurationError: The folder holds images, the ending of a file does not fit its format, a label map would
                overwrite an image, or one file is named for several cases.
        """
        if output.is_dir() or not ending_of(output):
            if output.is_file():
                raise ConfigurationError(
                    f"{output} is a file; name a folder, or for a single image a label map such as seg.nii.gz"
                )
            outputs = cls(output, None, shard, ending)
            outputs._refuse_images(inputs)
        else:
            n = len(inputs.cases) + len(inputs.faults)
            if n > 1:
                raise ConfigurationError(f"{output} is one file, but there are {n} cases; name a folder")
            if (ending_of(output) == DICOM) != (ending == DICOM):
                raise ConfigurationError(
                    f"{output}: label maps end in {DICOM} if they are made with --format dicom-..., and only then"
                )
            if ending_of(output) in LOSSY_ENDINGS:
                raise ConfigurationError(f"{output}: JPEG changes values, so it cannot hold labels; use .png")
            outputs = cls(output.parent, output, shard, ending)
        images = {file.resolve() for case in inputs.cases.values() for file in case.images}
        for file in map(outputs.labels, inputs.cases.values()):
            if file.resolve() in images:
                raise ConfigurationError(f"{file} is an image; name another file or folder with --output")
        return outputs

    def _refuse_images(self, inputs: Inputs) -> None:
        """A folder of images stays one, so that it can be predicted again."""
        folder = self.folder.resolve()
        own = [
            file for case in inputs.cases.values() for file in case.images if file.parent.resolve() == folder
        ]
        there = self.folder.iterdir() if folder.is_dir() else ()
        others = (file for file in there if ending_of(file) and split_name(file)[1] == 0)
        image = next(itertools.chain(own, others), None)
        if image is not None:
            raise ConfigurationError(
                f"{self.folder} holds images, such as {image.name}; name another folder with --output, so that label "
                "maps are not mixed with them"
            )

    def labels(self, case: Case) -> Path:
        """The label map of a case."""
        name, ending = case.images[0].name, format_of(case.images[0])
        ending = name[-len(ending) :] if name.lower().endswith(ending) else ending
        return self.single or self.folder / f"{case.identifier}{self.ending or label_ending(ending)}"

    def optional(self, kind: str, case: Case) -> Path:
        """A file of one of the `OPTIONAL` kinds."""
        if self.single is None:
            return self.folder / kind / f"{case.identifier}{OPTIONAL[kind]}"
        return self._beside(f"{kind}{OPTIONAL[kind]}")

    def probability_images(self, case: Case, n: int) -> list[Path]:
        """One for each of n classes or regions, numbered as channels are."""
        if self.single is not None:
            return [self._beside(f"probabilities_{number:04d}.nii.gz") for number in range(n)]
        folder = self.folder / "probabilities"
        return [folder / f"{case.identifier}_{number:04d}.nii.gz" for number in range(n)]

    def of_call(self, kind: str, ending: str) -> Path:
        """A file about all cases of the call, such as prediction.json."""
        if self.single is not None:
            return self._beside(f"{kind}{ending}")
        part, parts = self.shard
        return self.folder / (f"{kind}{ending}" if parts == 1 else f"{kind}_{part}_of_{parts}{ending}")

    def _beside(self, name: str) -> Path:
        file = self.single or self.folder
        return file.with_name(f"{file.name[: -len(ending_of(file))]}.{name}")

    def known(self) -> dict[str, Entry]:
        """What earlier calls have made, whatever their shards; of a case the latest."""
        files = {self.of_call("prediction", ".json")}
        if self.single is None:
            files |= {self.folder / "prediction.json", *self.folder.glob("prediction_*_of_*.json")}
        known: dict[str, Entry] = {}
        for file in sorted(filter(Path.exists, files), key=lambda file: file.stat().st_mtime_ns):
            cases = read_contract(Prediction, file, error=PredictionError).cases
            known |= {name: Entry(key=case.key, files=case.files) for name, case in cases.items()}
        return known

    def remove_tables(self) -> None:
        """Remove what an earlier call has written about all cases; of a single one this is its own file."""
        self.of_call("statistics", ".csv").unlink(missing_ok=True)
        if self.single is None:
            self.of_call("statistics", ".json").unlink(missing_ok=True)

    def write_statistics(self, cases: Sequence[Case]) -> None:
        """Put those of all cases into one table, as CSV and as JSON."""
        rows = [row for case in cases for row in self._statistics(case)]
        channels = max((len(row.mean_intensity) for row in rows), default=0)
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        means = [f"mean_intensity_{channel}" for channel in range(channels)]
        writer.writerow(["case", "target", "name", "voxels", "volume_ml", *means])
        for row in rows:
            names = map(cell_text, (row.case, row.target, row.name))
            writer.writerow([*names, row.voxels, row.volume_ml, *row.mean_intensity])
        write_text(self.of_call("statistics", ".csv"), text.getvalue())
        write_json(self.of_call("statistics", ".json"), [row.model_dump(mode="json") for row in rows])

    def _statistics(self, case: Case) -> Iterator[ClassStatistics]:
        file = self.optional("statistics", case)
        for row in read_json(file, error=PredictionError):
            yield ClassStatistics.parse(row, where=str(file), error=PredictionError)


def part_of(found: Inputs, shard: tuple[int, int]) -> Inputs:
    """The inputs of one of several calls, number and count; images that none of them takes are named."""
    warn([f"{file} is left out: its format is not that of the training images" for file in found.others])
    part, parts = shard
    chosen = sorted({*found.cases, *found.faults})[part - 1 :: parts]
    return Inputs(
        {name: found.cases[name] for name in chosen if name in found.cases},
        {name: found.faults[name] for name in chosen if name in found.faults},
    )
