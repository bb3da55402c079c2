"""A table with its figure, and the same values to take away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from workbench import figures
from workbench.tables import Table

if TYPE_CHECKING:
    from workbench.figures import Figure


def shown(table: Table, figure: Figure | None, alt: str) -> None:
    """The figure, then its numbers as a table and as files; without a figure the table alone.

    PNG comes from the figure's own button, and hence shows what is drawn.
    """
    if figure is not None:
        st.plotly_chart(
            figure, key=f"figure_{table.name}", config=figures.config(table.name), alt=alt
        )
    with st.container(horizontal=True, vertical_alignment="center"):
        for kind, content, mime in (
            ("CSV", table.to_csv, "text/csv"),
            ("JSON", table.to_json, "application/json"),
        ):
            st.download_button(
                kind,
                content,
                f"{table.name}.{kind.lower()}",
                mime,
                key=f"{kind}_{table.name}",
                on_click="ignore",
                icon=":material/download:",
                help=f"{table.title}: the numbers that are drawn, as {kind}",
            )
        if figure is not None:
            st.caption("PNG: the camera above the figure.", width="content")
    if figure is None:
        _numbers(table)
        return
    numbers = st.expander("The numbers", key=f"open_{table.name}", on_change="rerun")
    if numbers.open:  # a closed one costs nothing when the dial is let go
        with numbers:
            _numbers(table)


def _numbers(table: Table) -> None:
    st.dataframe(table.frame(), hide_index=True, key=f"numbers_{table.name}", alt=table.title)
