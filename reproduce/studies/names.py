"""What the files of a study are called, below its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..runner import WHOLE, Shard


@dataclass(frozen=True)
class Files:
    """The files of a study, or of one of its shards, which has its own beside those of the others.

    Attributes
    ----------
    out : Path
        The study's folder.
    shard : tuple of int
        Which shard of how many.
    """

    out: Path
    shard: Shard = WHOLE

    @property
    def index(self) -> Path:
        return self._file("study", "sqlite")

    @property
    def log(self) -> Path:
        return self._file("log", "txt")

    @property
    def csv(self) -> Path:
        return self._file("results", "csv")

    @property
    def parquet(self) -> Path:
        return self._file("results", "parquet")

    @property
    def page(self) -> Path:
        return self._file("index", "html")

    def further_page(self, number: int) -> Path:
        """A page of maps, from 2 on."""
        return self.out / f"pages{self._part}" / f"{number:04}.html"

    def other_indices(self) -> list[Path]:
        """Those of other shards, or of the whole, in this folder."""
        return sorted(path for path in self.out.glob("study*.sqlite") if path != self.index)

    @property
    def _part(self) -> str:
        return "" if self.shard == WHOLE else f"-{self.shard[0]}of{self.shard[1]}"

    def _file(self, name: str, suffix: str) -> Path:
        return self.out / f"{name}{self._part}.{suffix}"
