"""The report for people: one HTML file that asks for nothing, runs nothing and shows text as text.

Everything that comes from a model, a block or a prompt goes through `_text`; the page forbids
scripts and all requests by its own policy besides.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workbench.audit_effects import AGREE, MEANINGS, NOT_CAUSAL
from workbench.evidence_figures import effect_figure
from workbench.evidence_tables import audit_tables
from workbench.tables import Table
from workbench.text import display_token

MOST_SHOWN = 50
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --mass: #7a5195; --effect: #0a7d8c; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; }
th, td { border-bottom: 1px solid var(--line); padding: .2rem .6rem; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
tr.differs td { font-weight: 600; }
.prompt { white-space: pre-wrap; overflow-wrap: anywhere; border-left: 3px solid var(--line);
  padding-left: .8rem; }
.token { display: inline-block; border: 1px solid var(--line); border-radius: 3px; margin: 1px;
  padding: 0 .2rem; font-size: 13px; }
.token.fired { border-color: var(--effect); border-width: 2px; }
.token.near { border-style: dashed; border-color: var(--mass); border-width: 2px; }
.note { border: 1px solid var(--line); border-radius: 4px; padding: .6rem .8rem; }
svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
code { overflow-wrap: anywhere; }
"""


def report(results: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The report of results.json and a manifest's subject."""
    return "\n".join(_lines(results, about)) + "\n"


def _lines(results: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    audits = results["audits"]
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>Audit of {_text(about['model']['name'])}</title>"
    yield f"<style>{_STYLE}</style></head><body>"
    yield f"<h1>Audit of {_text(about['model']['name'])}</h1>"
    yield from _subject(about)
    yield f'<p class="note">{_text(NOT_CAUSAL)}</p><ul>'
    for name, meaning in MEANINGS.items():
        yield f"<li>Removed from <b>{_text(name)}</b>: {_text(meaning)}</li>"
    yield "</ul>"
    for number, audit in enumerate(audits[:MOST_SHOWN], start=1):
        yield from _prompt(number, audit, about)
    if len(audits) > MOST_SHOWN:
        yield f"<p>The other {len(audits) - MOST_SHOWN} prompts are in the tables beside this.</p>"
    yield "</body></html>"


def _subject(about: Mapping[str, Any]) -> Iterator[str]:
    settings = about["settings"]
    told = {
        "Model": about["model"]["content_hash"],
        "Code": about["code_sha256"],
        "Rules": "none" if about["rules"] is None else about["rules"],
        "Dial": f"{settings['dial']}, gain {settings['gain']}, {settings['schedule']} schedule",
        "Prompts": about["prompts"],
        "Device": f"{settings['device']}, {about['machine']}, {about['threads']} thread(s)",
        "Versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
    }
    yield '<div class="wide"><table>'
    for key, value in told.items():
        yield f"<tr><th>{key}</th><td><code>{_text(value)}</code></td></tr>"
    for name, value in about["model"]["files"].items():
        yield f"<tr><th>{_text(name)}</th><td><code>{_text(value)}</code></td></tr>"
    yield "</table></div>"


def _prompt(number: int, audit: Mapping[str, Any], about: Mapping[str, Any]) -> Iterator[str]:
    yield f"<h2>Prompt {number}</h2>"
    if "text" in audit:
        yield f'<p class="prompt">{_text(audit["text"])}</p>'
    else:
        yield f"<p>Redacted; salted hash <code>{_text(audit['text_hash'])}</code></p>"
    fired = sum(block["status"] == "fired" for block in audit["blocks"])
    yield (
        f"<p>{fired} blocks fire and cover {audit['coverage']:.0%} of the tokens. A word fires a "
        f"block by a share of at least {audit['theta']:g} and a lead of at least "
        f"{audit['delta']:g}.</p><p>"
    )
    yield from map(_token, audit["tokens"])
    yield "</p>"
    yield from _counterfactuals(audit)
    for intervention in MEANINGS:
        chosen = [each for each in audit["effects"] if each["intervention"] == intervention]
        if chosen:
            yield effect_figure(chosen, f"Removed from {intervention}", _text)
    for table in audit_tables(audit, about):
        if table.name != "tokens" and len(table):
            yield from _table(table)
    if audit.get("next_tokens"):
        likely = (f"{_text(n['token'])} {n['probability']:.3f}" for n in audit["next_tokens"])
        yield f"<p>Next token, probability: {'; '.join(likely)}</p>"


def _token(token: Mapping[str, Any]) -> str:
    kind = {"fired": "fired", "near miss": "near"}.get(token["status"], "")
    shown = token.get("token", token["position"])
    said = f"{token['status']}: {token['block'] or 'no block'}. {token.get('reason', '')}"
    return f'<span class="token {kind}" title="{_text(said)}">{_text(shown)}</span>'


def _counterfactuals(audit: Mapping[str, Any]) -> Iterator[str]:
    yield "<ul>"
    for block in audit["blocks"]:
        if not block["without"]:
            continue
        which = ", ".join(
            f"{audit['tokens'][at].get('token', 'the token')} (position {at})"
            for at in block["without"]
        )
        few = "" if block["smallest"] else " (found step by step; fewer may do)"
        yield f"<li>Without {_text(which)}, {_text(block['block'])} does not fire{few}.</li>"
    yield "</ul>"


def _table(table: Table) -> Iterator[str]:
    columns = [column for column in table.columns if column.key != "prompt"]
    yield f'<h3>{_text(table.title)}</h3><div class="wide"><table><tr>'
    yield "".join(f"<th>{_text(column.heading)}</th>" for column in columns) + "</tr>"
    for row in zip(*(column.cells for column in columns), strict=True):
        differs = _differs(columns, row)
        yield f"<tr{' class=differs' if differs else ''}>{''.join(map(_cell, row))}</tr>"
    yield "</table></div>"


def _differs(columns: Sequence[Any], row: Sequence[Any]) -> bool:
    return any(c.key == "verdict" and value != AGREE for c, value in zip(columns, row, strict=True))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td class="number">{value}</td>'
    return f"<td>{_text('' if value is None else value)}</td>"


def _text(value: object) -> str:
    """Text as text: markup is escaped, and what cannot be seen is spelled out, but for blanks."""
    shown = (each if each == " " else display_token(each) for each in str(value))
    return html.escape("".join(shown), quote=True)
