"""`rules`: check a file of rules, compare two, write text under rules."""

from __future__ import annotations

import argparse
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.choices import DEFAULT_DIAL
from workbench.cli_output import add_json, check_output, write_json
from workbench.cli_sweep import read_texts, trained_gain
from workbench.devices import CHOICES
from workbench.models import open_model

if TYPE_CHECKING:
    from model.locality.dial import Dial
    from model.transformer.checkpoint import LoadedModel
    from workbench.generation import Checked, Event
    from workbench.tables import Table

_MOST_LINES = 20  # of a table on the terminal; JSON has them all


def add_to(commands: Any) -> None:
    """Add the subcommand, with an action of its own each, to an argparse collection."""
    command = commands.add_parser(
        "rules",
        help="check and compare files of rules, and write text under them",
        description="A rule says which blocks heads read, and when. Rules act at a dial above 0.",
    )
    actions = command.add_subparsers(dest="action", metavar="ACTION", required=True)

    check = actions.add_parser(
        "check",
        help="read a file of rules, and find conflicts in it",
        description="Says what is wrong and on which line. With a model: whether it has the blocks "
        "and heads that are named, and which rules conflict, with a sentence that shows it.",
    )
    check.add_argument("file", metavar="FILE")
    _add_model(check, required=False)
    _add_texts(check, "sentences to look for conflicts in (held-out glosses)")
    add_json(check, "rules and conflicts")
    check.set_defaults(run=_check)

    compare = actions.add_parser(
        "compare",
        help="what differs between two files of rules, and where it matters",
        description="With a model: on which texts the exchange changes what it predicts.",
    )
    compare.add_argument("before", metavar="A")
    compare.add_argument("after", metavar="B")
    _add_model(compare, required=False)
    _add_texts(compare, "prompts to compare on (held-out glosses)")
    _add_dial(compare)
    add_json(compare, "the comparison")
    compare.set_defaults(run=_compare)

    write = actions.add_parser(
        "generate",
        help="write text under rules",
        description="Text goes to standard output as it is written, greedy unless a temperature is "
        "given; then which rules fired at each token, and what the checkers say.",
    )
    _add_model(write, required=True)
    write.add_argument("--rules", metavar="FILE", help="a file of rules (none)")
    write.add_argument("--prompt", required=True, metavar="TEXT")
    write.add_argument("--tokens", type=int, default=64, metavar="N", help="at most (64)")
    write.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0 is greedy")
    write.add_argument("--top-k", type=int, default=0, metavar="K", help="0 is all (0)")
    write.add_argument("--seed", type=int, default=0, metavar="S", help="of the draws (0)")
    _add_dial(write)
    add_json(write, "the text, rules fired and checks")
    write.set_defaults(run=_generate)

    induce = actions.add_parser(
        "induce",
        help="find rules in a model's attention, test and ablate them on other texts",
        description="Half of the texts propose, the other half decides. Prints, beside every rule, "
        "what its ablation costs, and how many rules are found with the classes shuffled.",
    )
    _add_model(induce, required=True)
    _add_texts(induce, "texts to find rules in (held-out glosses)")
    induce.add_argument("--rate", type=float, default=0.05, help="false discovery rate (0.05)")
    induce.add_argument("--most", type=int, default=20, help="rules that are ablated (20)")
    induce.add_argument("--seed", type=int, default=0, help="of halves and shuffling (0)")
    induce.add_argument("--out", metavar="FILE", help="write them as a file of rules")
    add_json(induce, "the rules found")
    induce.set_defaults(run=_induce)


def _add_model(command: argparse.ArgumentParser, required: bool) -> None:
    command.add_argument(
        "--model", required=required, metavar="M", help="a name that `models` lists"
    )
    command.add_argument("--device", default="auto", help=", ".join(CHOICES) + " (auto)")


def _add_texts(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument("--text-file", metavar="F", help=f"one text a line: {what}")


def _add_dial(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--dial", type=float, default=DEFAULT_DIAL, help=f"in [0, 1] ({DEFAULT_DIAL:g})"
    )
    command.add_argument("--gain", type=float, help="gain of the dial (the model's own)")


def _check(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    from model.rules.toml_file import load_rules
    from workbench.rules import bind_rules, conflicts_of
    from workbench.rules_tables import conflicts_table, rules_table

    _ready(options)
    rules = load_rules(options.file)
    found = None
    if options.model:
        texts = _texts(options)
        model = open_model(options.model, options.device)
        found = conflicts_of(model, bind_rules(model, rules), texts)
    table = rules_table(rules)
    if options.json:
        data = {**table.about, "model": options.model, "rules": table.rows()}
        data["conflicts"] = None if found is None else [asdict(each) for each in found]
        yield from write_json(options.json, data)
    else:
        yield "out", f"{rules.name}, version {rules.version}, {rules.content_hash[:12]}"
        for row in table.rows():
            yield "out", _safe(f"{row['rule']}: {row['says']}")
    if found is None:
        yield "err", f"{len(rules)} rules are well-formed; --model tells whether a model has them"
        return
    if not options.json:
        yield from _lines(conflicts_table(found, {}))
    yield (
        "err",
        f"{len(rules)} rules fit {options.model}; {len(found)} conflicts, all with a winner",
    )


def _compare(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    from model.rules.toml_file import load_rules
    from workbench.rules import bind_rules, compare_rules, where_it_matters
    from workbench.rules_tables import difference_table, matters_table

    _ready(options)
    before, after = load_rules(options.before), load_rules(options.after)
    table = difference_table(compare_rules(before, after), {})
    matters = None
    if options.model:
        texts = _texts(options)
        model = open_model(options.model, options.device)
        one, other = bind_rules(model, before), bind_rules(model, after)
        matters = where_it_matters(model, one, other, texts, _dial(options, model))
    if options.json:
        hashes = {"before": before.content_hash, "after": after.content_hash}
        data = {**hashes, "model": options.model, "dial": options.dial, "differences": table.rows()}
        data["prompts"] = None if matters is None else [asdict(each) for each in matters]
        yield from write_json(options.json, data)
        return
    yield from _lines(table)
    if not len(table):
        yield "out", "the two sets say the same"
    if matters is not None:
        yield from _lines(matters_table(matters, {}))
        count = sum(each.pairs > 0 for each in matters)
        yield "err", f"relevance differs on {count} of {len(matters)} texts"


def _generate(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    from model.rules.rule import RuleSet
    from model.rules.toml_file import load_rules
    from workbench.generation import Began, Sampling, Written, generate
    from workbench.rules import bind_rules
    from workbench.rules_tables import checks_table, ended, fired_table

    _ready(options)
    sampling = Sampling(options.tokens, options.temperature, options.top_k, options.seed)
    rules = load_rules(options.rules) if options.rules else RuleSet()
    model = open_model(options.model, options.device)
    dial, bound = _dial(options, model), bind_rules(model, rules)
    streams = options.json != "-"
    events: list[Event] = []
    for event in generate(model, options.prompt, dial, sampling, bound):
        events.append(event)
        if isinstance(event, Began) and event.notice:
            yield "err", event.notice
        if isinstance(event, Written) and streams:  # a line a token would be no stream
            sys.stdout.write(_safe(event.text))
            sys.stdout.flush()
    if streams:
        yield "out", ""
    about = {"model": options.model, "model_hash": model.content_hash, "dial": options.dial}
    about |= {"gain": dial.gain, "rules_hash": rules.content_hash, **asdict(sampling)}
    last = ended(events)
    assert last is not None
    fired = fired_table(events, about)
    if options.json:
        written = [asdict(event) for event in events if isinstance(event, Written)]
        for each in written:
            del each["fired"]
        data = {**about, "prompt": options.prompt, "text": last.text, "reason": last.reason}
        data |= {"tokens_written": written, "fired": fired.rows()}
        yield from write_json(options.json, data | {"checks": [_plain(c) for c in last.checks]})
    else:
        yield from _lines(fired, "err")
        yield from _lines(checks_table(last.checks, {}), "err")
    yield "err", f"{last.n_tokens} tokens, {last.reason}"


def _induce(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    from model.rules.toml_file import to_toml
    from workbench.files import write_atomic
    from workbench.rules_induced import induced_rules
    from workbench.rules_tables import induced_table

    _ready(options)
    if options.out:
        check_output(options.out)
    texts = _texts(options)
    model = open_model(options.model, options.device)
    found = induced_rules(model, texts, options.rate, options.most, options.seed)
    table = induced_table(found, {"model": options.model, "model_hash": model.content_hash})
    if options.out:
        write_atomic(Path(options.out).absolute(), to_toml(found.rules).encode())
        yield "err", f"written: {options.out}"
    if options.json:
        shares = {"explained": found.explained, "uniform": found.uniform}
        data = {**table.about, **shares, "rules": table.rows()}
        yield from write_json(options.json, data)
    else:
        yield from _lines(table)
    yield (
        "err",
        f"{len(table)} rules of {found.tested} candidates pass at rate {options.rate:g}; "
        f"with shuffled classes {found.by_chance} of {found.tested_by_chance}",
    )


def _ready(options: argparse.Namespace) -> None:
    if options.json:
        check_output(options.json)


def _texts(options: argparse.Namespace) -> Sequence[str]:
    from workbench.coding_texts import held_out_texts

    return read_texts(Path(options.text_file)) if options.text_file else held_out_texts()


def _dial(options: argparse.Namespace, model: LoadedModel) -> Dial:
    from model.locality.dial import Dial

    gain = trained_gain(model.provenance) if options.gain is None else options.gain
    return Dial(options.dial, gain)


def _plain(check: Checked) -> dict[str, Any]:
    return {**asdict(check), "span": None if check.span is None else [*check.span]}


def _lines(table: Table, stream: str = "out") -> Iterator[tuple[str, str]]:
    """The first rows of a table, a line each, for people; nothing where there are none."""
    if not len(table):
        return
    yield stream, f"{table.title}:"
    for row in table.rows()[:_MOST_LINES]:
        cells = [f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()]
        yield stream, "  " + _safe(" | ".join(cells))
    if len(table) > _MOST_LINES:
        yield stream, f"  … and {len(table) - _MOST_LINES:,} more (--json has them all)"


def _safe(text: str) -> str:
    """Text that cannot steer a terminal: what is unseen, but the line's end, as an escape."""
    return "".join(
        character
        if character == "\n" or unicodedata.category(character) not in ("Cc", "Cf")
        else f"\\x{ord(character):02x}"
        for character in text
    )
