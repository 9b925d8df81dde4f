"""What a report says, before it is HTML or Markdown: sections of sentences, tables, figures and alignments."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auricle.bench.environment import summary as machine
from auricle.bench.live.verdicts import verdicts
from auricle.bench.summary import aligned
from auricle.errors import UsageError
from auricle.report import live_lines, offline_tables
from auricle.report.compare import Smallest, compare_sides
from auricle.report.compare_tables import headline, notes, rates_grid, times_grid
from auricle.report.figures import Figure, live_figures, offline_figures
from auricle.report.live_figures import scored_levels
from auricle.report.reading import events_of, summarise
from auricle.report.sides import Side, arms_of, open_side
from auricle.report.surroundings import differences, shown
from auricle.report.tables import Grid
from auricle.score.align import align

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from auricle.bench.records import Run
    from auricle.score.align import Alignment

Event = dict[str, Any]
WORST = 8
MOST_SUBSTITUTIONS = 12
LEAST_ENVIRONMENT = ("captured", "auricle", "python", "os", "cpu", "memory", "variables", "packages", "cuda", "gpu")


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a report; every part but the title may be empty."""

    title: str
    lines: tuple[str, ...] = ()
    grids: tuple[Grid, ...] = ()
    figures: tuple[Figure, ...] = ()
    alignments: tuple[tuple[str, Alignment], ...] = ()
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Document:
    """A report: its title, what it comes to in a few sentences, and its sections."""

    title: str
    verdicts: tuple[str, ...]
    sections: tuple[Section, ...]
    summaries: tuple[tuple[str, Mapping[str, Any]], ...]


def document(runs: Sequence[Run]) -> Document:
    """Return the report of runs, the first of which the others are compared with where they can be.

    Raises UsageError for no run or a kind that has no report, RecordError that lists what an older record lacks.
    """
    if not runs:
        raise UsageError("there is nothing to report", None, "name a run")
    told: list[str] = []
    sections: list[Section] = []
    summaries = []
    recorded = [events_of(run) for run in runs]
    for run, events in zip(runs, recorded, strict=True):
        summary = summarise(run.info["kind"], events, run.info["settings"])
        summaries.append((run.id, summary))
        sentences, own = SECTIONS[run.info["kind"]](run, events, summary)
        told += [f"{run.id}: {one}" if len(runs) > 1 else one for one in sentences]
        sections += [_named(section, run.id) for section in own] if len(runs) > 1 else own
    compared, sentences = _comparisons(runs, recorded)
    sections = [*compared, *sections, *(_environment(run) for run in runs)]
    title = runs[0].id if len(runs) == 1 else f"{runs[0].id} and {len(runs) - 1} more"
    return Document(title, (*sentences, *told), tuple(sections), tuple(summaries))


def _named(section: Section, run: str) -> Section:
    return Section(
        f"{section.title}: {run}", section.lines, section.grids, section.figures, section.alignments, section.folded
    )


def _live(run: Run, events: Sequence[Event], summary: Mapping[str, Any]) -> tuple[list[str], list[Section]]:
    settings = run.info["settings"]
    sections: list[Section] = []
    for arm in summary["arms"]:
        own = levels_of(summary, arm["name"])
        paced = [level for level in own if level["speed"] is not None]
        sentences = (
            *live_lines.lookahead(arm["lookahead_ms"]),
            *live_lines.caveats(own),
            *live_lines.troubles(own),
            *live_lines.reference_lines(summary["reference"].get(arm["name"])),
        )
        grids = [
            grid_of("Quality and latency", live_lines.CURVE, map(live_lines.curve_row, own)),
            grid_of("Texts and other times", live_lines.MORE, map(live_lines.more_row, own)),
            grid_of("Load", live_lines.LOAD, map(live_lines.load_row, paced)),
            grid_of("Server", live_lines.SERVER, map(live_lines.server_row, own)),
        ]
        figures = tuple(live_figures(arm["name"], events, summary, settings))
        sections.append(Section(f"Under load, {arm['name']}", sentences, tuple(grids), figures))
        sections += _live_errors(events, arm["name"], settings)
    sections.append(Section("Client", tuple(live_lines.client_lines(summary["certificate"]))))
    return list(live_verdicts(summary, settings)), sections


def levels_of(summary: Mapping[str, Any], arm: str) -> list[dict[str, Any]]:
    """Return the levels of one arm."""
    return [level for level in summary["levels"] if level["arm"] == arm]


def live_verdicts(summary: Mapping[str, Any], settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a live run comes to; first that it is void, where it is."""
    if summary["certificate"]["void"]:
        yield "VOID: the client was not on time, so these figures do not tell of the server."
    for arm in summary["arms"]:
        own = levels_of(summary, arm["name"])
        yield from verdicts(own, settings)
        yield from live_lines.capacity_lines(summary["capacity"][arm["name"]], own)


def grid_of(title: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Grid:
    """Return a table of live levels as a grid; its last column without a name is whether bounds held."""
    named = tuple(name or "bounds" for name in columns)
    return Grid(title, named, named[:-1] if "bounds" in named else named, tuple(rows))


def _offline(run: Run, events: Sequence[Event], summary: Mapping[str, Any]) -> tuple[list[str], list[Section]]:
    told = [
        f"{arm['name']}: WER {100 * arm['wer']['rate']:.1f} % ({100 * arm['wer']['low']:.1f} to "
        f"{100 * arm['wer']['high']:.1f}), RTF {arm['rtf']:.3f}, RTFx {arm['rtfx']:.1f}."
        for arm in summary["arms"]
        if arm["wer"] is not None
    ]
    sections = [
        Section(
            "Files",
            (*offline_tables.head(run), *offline_tables.warnings(dict(summary))),
            tuple(offline_tables.grids(run, dict(summary), per_file=False)),
            tuple(offline_figures(events, summary)),
        )
    ]
    found: dict[str, list[tuple[str, Alignment]]] = {}
    for arm, utterance, alignment in aligned(events, run.info["settings"]):
        found.setdefault(arm, []).append((utterance, alignment))
    sections += [_errors(arm, pairs) for arm, pairs in found.items()]
    return told, sections


def _live_errors(events: Sequence[Event], arm: str, settings: Mapping[str, Any]) -> Iterator[Section]:
    levels = scored_levels(events, arm, settings)
    if not levels:
        return
    level, scored = levels[-1]
    pairs = [
        (f"{part.utterance['id']}, stream {one.stream.event['stream']}", align(part.reference, part.heard or []))
        for one in scored
        for part in one.parts
    ]
    if wrong := [(name, alignment) for name, alignment in pairs if alignment.counts.errors]:
        yield _errors(f"{arm} at {level.event['live']} live", wrong)


def _errors(name: str, found: Sequence[tuple[str, Alignment]]) -> Section:
    worst = sorted(found, key=lambda pair: -pair[1].counts.errors / max(1, pair[1].counts.reference_length))[:WORST]
    swapped = Counter(
        (pair.reference or "", pair.hypothesis or "") for _, one in found for pair in one.pairs if pair.mark == "S"
    )
    rows = tuple((one, other, str(count)) for (one, other), count in swapped.most_common(MOST_SUBSTITUTIONS))
    grids = (Grid("Most frequent substitutions", ("reference", "heard", "times"), ("times",), rows),) if rows else ()
    lines = (f"{len(found)} utterances have errors; the {len(worst)} worst by error rate are shown.",)
    return Section(f"Errors, {name}", lines, grids, (), tuple(worst))


def _comparisons(runs: Sequence[Run], recorded: Sequence[list[Event]]) -> tuple[list[Section], list[str]]:
    """Return a section for each comparison with the first run, or arm, and the verdicts."""
    sides = _sides(runs, recorded)
    sections, told = [], []
    for other in sides[1:]:
        first = sides[0]
        try:
            found = compare_sides([_again(first), other], Smallest(), first.runs[0].info["settings"]["normaliser"])[0]
        except UsageError as error:
            sections.append(Section(f"{other.name} against {first.name}", (f"Not compared: {error}.",)))
            continue
        differ = differences(first, other)
        told.append(f"{other.name} against {first.name}: {headline(found)}.")
        lines = ("They differ in:" if differ else "Their surroundings do not differ.", *shown(differ), *notes(found))
        grids = (rates_grid(found.errors), times_grid(found.timings))
        sections.append(Section(f"{other.name} against {first.name}", lines, grids))
    return sections, told


def _again(side: Side) -> Side:
    """Return a side as it was before it was measured: what is measured depends on whom it is compared with."""
    return Side(side.name, side.kind, side.runs, side.arms, side.events)


def _sides(runs: Sequence[Run], recorded: Sequence[list[Event]]) -> list[Side]:
    return [
        open_side([(run, arm)], f"{run.id}@{arm}" if len(runs) > 1 else arm, [events])
        for run, events in zip(runs, recorded, strict=True)
        for arm in arms_of(events)
    ]


def _environment(run: Run) -> Section:
    rows = tuple(
        (f"{group}.{name}" if name else group, value)
        for group in LEAST_ENVIRONMENT
        for name, value in _leaves(run.info["environment"].get(group))
    )
    corpus, normaliser = run.info["corpus"], run.info["normaliser"]
    lines = (
        machine(run.info["environment"]),
        f"Corpus {corpus['name']}, {corpus['utterances']} utterances, hash {corpus['hash']}.",
        f"Normaliser {normaliser['name']}, hash {normaliser['hash']}.",
        f"Run {run.id}, {run.info['status']}, {run.info['started']}; every number here comes from its raw events.",
    )
    return Section(f"Surroundings of {run.id}", lines, (Grid("", ("what", "value"), (), rows),), folded=True)


def _leaves(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield name, "-" if part in (None, [], {}) else str(part)
    else:
        yield "", "-" if value is None else str(value)


SECTIONS = {"live": _live, "offline": _offline}
"""What makes the verdicts and sections of each kind of run."""
