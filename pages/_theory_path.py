"""The Theory page's regularisation path: strength moved along it, and what is alive there."""

from __future__ import annotations

import streamlit as st

from pages import _say
from pages import _theory_formulas as formulas
from pages._shown import downloads, shown
from workbench import regularisation_figures as figures
from workbench import regularisation_tables as tables
from workbench.models import ModelCard
from workbench.regularisation import TOLERANCE, Point, RegularisationPath
from workbench.regularisation_file import path_of

_POINT, _SIDE, _VIEW, _GROUP = "path_point", "path_side", "path_view", "path_group"
_SIDES = {"key": "Keys: what heads read", "query": "Queries: what heads ask from"}
_VIEWS = {"map": "Map", "graph": "Graph"}


def path_tab(card: ModelCard | None, _device: str) -> None:
    """The tab; says what to do for a model that has no path."""
    st.caption(
        "Training with a group penalty of strength α on what each head reads of each block. At "
        "α_max all of it is exactly zero; as α falls, group after group comes alive. Each point of "
        "the path was started from its neighbour; all other weights stay as they are."
    )
    if card is None or card.error:
        st.info("Choose a model on the left.")
        return
    path = path_of(card.name)
    if path is None:
        st.info(
            f"The model “{_say.plain(card.name)}” was trained without the group penalty and has no "
            "path. Choose one that has, such as “bundled-sparse” where it is listed on the left: "
            "its directory holds a file `path.json`."
        )
        return
    at = _point(card.name, path)
    point = path.points[at]
    _told(path, point)
    table = tables.path_table(path)
    shown(
        table,
        figures.path_figure(table, at),
        "Over the strength of the penalty: groups exactly zero and the pool's share of the scores, "
        "then perplexity at each dial. The chosen point is marked. The table below holds the "
        "numbers.",
    )
    st.caption(
        "Filled marks are stationary points, open ones are not. Perplexity is measured on "
        "held-out text."
    )
    _support(path, at)
    _one_group(card.name, path, at)


def _point(name: str, path: RegularisationPath) -> int:
    """The chosen point's place in the path, from strong to weak."""
    if len(path.points) == 1:
        return 0
    return st.select_slider(
        "Strength α / α_max, from strong to weak",
        range(len(path.points)),
        path.likely(),
        format_func=lambda at: tables.label(path.points[at]),
        key=f"{_POINT}_{name}_{path.model_hash[:12]}",
        persist_state="session",
        help="It begins at the model's own point, where that is known; else at the strongest whose "
        "perplexity at dial 0 is at most 1.05 times that of the weakest.",
    )


def _told(path: RegularisationPath, point: Point) -> None:
    first = point.measured[0]
    own = path.own is not None and path.points[path.own] is point
    itself = " This is the model itself." if own else ""
    st.markdown(
        f"At strength **{tables.label(point)}**, **{point.groups_alive}** of {path.groups} groups "
        f"are alive and **{point.zero_share:.1%}** exactly zero; {point.pool_score_share:.1%} of "
        f"the scores' variance goes through the pool, which no penalty reaches. Perplexity at dial "
        f"{first.dial:g}: **{first.perplexity:.1f}**.{itself}"
    )
    st.markdown(formulas.strength(path, point))
    st.markdown(formulas.penalty(path, point))
    where = f"the objective's {path.tokens:,} tokens (`{path.text_sha256[:12]}`)"
    if point.kkt_residual is None:
        st.caption("Without a penalty there is no KKT residual relative to it.")
    elif point.stationary:
        st.caption(
            f"**Stationary** on {where}: the KKT residual is {point.kkt_residual:.2g}, at most "
            f"{TOLERANCE:g}. Stationary does not mean minimal: the problem is not convex."
        )
    else:
        st.warning(
            f"Not called stationary: the KKT residual on {where} is {point.kkt_residual:.2g}, and "
            f"{TOLERANCE:g} would be the most. The zeros are those of the last step, and a longer "
            "run may change them.",
            icon=":material/warning:",
        )


def _support(path: RegularisationPath, at: int) -> None:
    """The map or graph of what is alive, and each head in words."""
    st.subheader("Which head reads which block", anchor=False)
    with st.container(horizontal=True):
        side = st.segmented_control(
            "Side", list(_SIDES), default="key", required=True, key=_SIDE,
            format_func=lambda each: _SIDES[each], persist_state="session",
        )  # fmt: skip
        view = st.segmented_control(
            "View", list(_VIEWS), default="map", required=True, key=_VIEW,
            format_func=lambda each: _VIEWS[each], persist_state="session",
        )  # fmt: skip
    largest = max(float(each.norms(side).max()) for each in path.points) or 1.0
    if view == "map":
        table = tables.support_table(path, at, side)
        shown(
            table,
            figures.support_figure(table, largest),
            f"{table.title}: blocks are rows, heads columns. The table below holds the numbers.",
        )
        st.caption(
            "Grey with a 0: exactly zero, the head does not see those dimensions. A pale colour: "
            "small, and still read. The darkest is the largest norm of the whole path."
        )
    else:
        found = tables.support_graph(path, at, side)
        if not len(found.table):
            st.info("Nothing is alive on this side at this strength: there is nothing to draw.")
        else:
            shown(
                found.table,
                figures.graph_figure(found, largest),
                f"{found.table.title}: a line for each living group, wider for a larger norm.",
            )
        if found.left_out:
            st.warning(
                f"The {len(found.table)} largest groups are drawn; {found.left_out} smaller ones "
                "that are alive too are left out. The map shows all.",
                icon=":material/filter_alt:",
            )
    heads = tables.heads_table(path, at)
    st.dataframe(
        heads.frame(), hide_index=True, key="path_heads", alt=heads.title, height=320,
        column_config={"reads (keys)": st.column_config.TextColumn(width="large")},
    )  # fmt: skip
    with st.container(horizontal=True):
        downloads(heads, "above")
    st.caption(
        "Blocks in the order of their norms. A group at zero says that the head does not see the "
        "block's dimensions; a token of that block still scores 0 and draws weight (see “Three "
        "traps”), and may be seen through the pool."
    )


def _one_group(name: str, path: RegularisationPath, at: int) -> None:
    """The threshold and the prox of one group, filled in."""
    st.subheader("One group, and what the penalty does to it", anchor=False)
    side = st.session_state[_SIDE]
    units = path.heads if side == "query" else path.kv_heads
    with st.container(horizontal=True):
        key = f"{_GROUP}_{name}_{side}"
        layer = st.selectbox("Its layer", range(path.layers), key=f"{key}_layer")
        head = st.selectbox("Its head", range(units), key=f"{key}_head")
        block = st.selectbox(
            "Its block", range(len(path.blocks)), key=f"{key}_block",
            format_func=lambda each: path.blocks[each],
        )  # fmt: skip
    norm = float(path.points[at].norms(side)[layer, head, block])
    words = tables.group_words(layer, head, path.blocks[block], side, norm)
    st.markdown(f"**{_say.plain(words[0].upper() + words[1:])}.**")
    for line in formulas.group(path, path.points[at], block, norm):
        st.markdown(line)
