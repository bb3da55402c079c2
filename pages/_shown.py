"""A table with its figure, and the same values to take away."""

from __future__ import annotations

import streamlit as st

from workbench import figures
from workbench.tables import Table


def shown(table: Table, figure: figures.Figure, alt: str) -> None:
    """The figure, its numbers as files and as a table.

    PNG comes from the figure's own button, and hence shows what is drawn.
    """
    st.plotly_chart(figure, key=f"figure_{table.name}", config=figures.config(table.name), alt=alt)
    with st.container(horizontal=True, vertical_alignment="center"):
        downloads(table, "that are drawn")
        st.caption("PNG: the camera above the figure.", width="content")
    numbers = st.expander("The numbers", key=f"open_{table.name}", on_change="rerun")
    if numbers.open:  # a closed one costs nothing when the dial is let go
        numbers.dataframe(
            table.frame(), hide_index=True, key=f"numbers_{table.name}", alt=table.title
        )


def downloads(table: Table, which: str) -> None:
    """Buttons that save the table as CSV and JSON; which: what the help says of its numbers."""
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
            help=f"{table.title}: the numbers {which}, as {kind}",
        )
