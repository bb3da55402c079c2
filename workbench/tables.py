"""A table as it is drawn and as it is saved: the same values, with their units, in every form."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from model.errors import LocalistError

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1


class TableError(LocalistError):
    """Columns that do not make a table."""


@dataclass(frozen=True)
class Column:
    """One quantity. key: its name in files; title: on the screen; unit: "" for names."""

    key: str
    title: str
    unit: str
    cells: Sequence[Any]

    @property
    def heading(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True)
class Table:
    """Columns of equal length. name: of its files; about: what was asked, e.g. model hash, dial."""

    name: str
    title: str
    columns: tuple[Column, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {column.key: len(column.cells) for column in self.columns}
        if len(set(lengths.values())) > 1 or len(lengths) != len(self.columns):
            raise TableError(
                f"Table {self.name!r}", lengths, "needs columns of one length and own names",
                "Give each column a value a row",
            )  # fmt: skip

    def column(self, key: str) -> Column:
        for column in self.columns:
            if column.key == key:
                return column
        known = ", ".join(column.key for column in self.columns)
        raise TableError(f"Table {self.name!r}", key, "has no such column", f"Use one of {known}")

    def __len__(self) -> int:
        return len(self.columns[0].cells) if self.columns else 0

    def rows(self) -> list[dict[str, Any]]:
        keys = [column.key for column in self.columns]
        values = [[_plain(cell) for cell in column.cells] for column in self.columns]
        return [dict(zip(keys, row, strict=True)) for row in zip(*values, strict=True)]

    def to_csv(self) -> str:
        """A heading a column, its unit in brackets; what was asked follows in columns `about_…`."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        asked = {f"about_{key}": _plain(value) for key, value in self.about.items()}
        headings = [f"{c.key} [{c.unit}]" if c.unit else c.key for c in self.columns]
        writer.writerow([*headings, *asked])
        for row in self.rows():
            writer.writerow([_cell(value) for value in (*row.values(), *asked.values())])
        return out.getvalue()

    def to_json(self) -> str:
        """What was asked, units by column, and the rows; numbers in their shortest exact form."""
        document = {
            "kind": f"localist-{self.name}",
            "format": FORMAT,
            "title": self.title,
            "about": {key: _plain(value) for key, value in self.about.items()},
            "units": {column.key: column.unit for column in self.columns if column.unit},
            "rows": self.rows(),
        }
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    def frame(self) -> pd.DataFrame:
        """For the screen: a heading with its unit a column."""
        import pandas as pd

        return pd.DataFrame({column.heading: list(column.cells) for column in self.columns})


def _plain(value: Any) -> Any:
    """Scalars of numpy as Python's own."""
    return value.item() if hasattr(value, "item") else value


def _cell(value: Any) -> str:
    """Text as a JSON string: blanks stay visible and no spreadsheet takes it for a formula."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, (int, float)):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)
