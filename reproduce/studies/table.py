"""The table of a study, for whatever reads tables: CSV, and Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from predict_diff.errors import ResultError
from predict_diff.storage import whole_file

from .columns import COLUMNS, Column

logger = logging.getLogger(__name__)

#: Rows that are in memory at a time.
_CHUNK = 10_000


def write_csv(path: Path, rows: Iterable[Sequence[Any]], columns: Sequence[Column] = COLUMNS) -> None:
    """Write rows, numbers with all their digits, and empty cells where there is none. ResultError if it cannot be."""
    with whole_file(path, ResultError) as file:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([column.name for column in columns])
        writer.writerows(rows)
        text.flush()
        text.detach()


def write_parquet(path: Path, rows: Iterable[Sequence[Any]], columns: Sequence[Column] = COLUMNS) -> bool:
    """Write the same rows as Parquet, with the meaning of each column in the file; False if pyarrow is not installed.

    A file of an earlier run, with pyarrow, is deleted then: it would be another table.
    """
    try:
        import pyarrow  # type: ignore[import-untyped,import-not-found,unused-ignore]
        from pyarrow import parquet
    except ImportError:
        if path.exists():
            logger.warning("%s: deleted, for it is out of date, and pyarrow is not installed.", path)
            path.unlink()
        return False
    types = {"text": pyarrow.string(), "integer": pyarrow.int64(), "real": pyarrow.float64(), "seed": pyarrow.uint64()}
    schema = pyarrow.schema(
        [pyarrow.field(column.name, types[column.kind], metadata={"meaning": column.meaning}) for column in columns]
    )
    with whole_file(path, ResultError) as file, parquet.ParquetWriter(file, schema) as writer:
        for some in _chunks(rows):
            cells = zip(*some, strict=True)
            arrays = [pyarrow.array(cell, field.type) for cell, field in zip(cells, schema, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))
    return True


def columns_in_words(columns: Sequence[Column] = COLUMNS) -> str:
    """What the columns are called, what kind of value they hold, and what that means; a line each."""
    width = max(len(column.name) for column in columns)
    kinds = {"text": "text", "integer": "integer", "real": "number", "seed": "integer"}
    return "\n".join(f"{column.name:{width}}  {kinds[column.kind]:7}  {column.meaning}" for column in columns)


def _chunks(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    iterator = iter(rows)
    while some := list(islice(iterator, _CHUNK)):
        yield some
