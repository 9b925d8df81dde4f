"""A run written out for other tools."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, Any, Literal, TextIO, get_args

from auricle.bench.records import encodable, strict_json
from auricle.errors import RecordError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auricle.bench.records import Run

Format = Literal["json", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = get_args(Format)


def export(run: Run, form: str, out: TextIO) -> None:
    """Write a run as `json` (run.json and all events), `jsonl` (the events) or `csv`.

    CSV has a row for each recognition of an utterance: what its `utterance` and its `batch` event say, as
    `auricle.bench.offline` describes them; times are those of the whole batch of `batch_size` utterances. A field of an
    object becomes a column `object.field`, a list is JSON text, null is empty. Raises UsageError for another format or
    a run without batches, RecordError for damaged events.
    """
    if form == "json":
        _write_json(run, out)
    elif form == "jsonl":
        out.writelines(f"{strict_json(event)}\n" for event in run.events())
    elif form == "csv":
        _write_csv(run, out)
    else:
        raise UsageError("not a format to export a run in", form, f"one of {', '.join(FORMATS)}")


def _write_json(run: Run, out: TextIO) -> None:
    out.write(f'{{"run": {strict_json(run.info)}, "events": [')
    for number, event in enumerate(run.events()):
        out.write(",\n" if number else "\n")
        out.write(strict_json(event))
    out.write("\n]}\n")


def _write_csv(run: Run, out: TextIO) -> None:
    utterances: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for event in run.events():
        try:
            if event["event"] == "utterance":
                utterances[event["id"]] = event
            elif event["event"] == "batch":
                rows += _spread(event, utterances)
        except (LookupError, TypeError, ValueError) as error:
            raise RecordError("an event is malformed", f"{run.path}, at {event.get('t_s')} s", repr(error)) from error
    if not rows:
        raise UsageError("the run has no batches to put into rows", run.id, "export it as json or jsonl")
    columns = dict.fromkeys(column for row in rows for column in row)
    writer = csv.DictWriter(out, list(columns), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def _spread(batch: dict[str, Any], utterances: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    ids, texts, audio_s = (batch.pop(name) for name in ("ids", "texts", "audio_s"))
    for name, text, length_s in zip(ids, texts, audio_s, strict=True):
        row = utterances[name] | batch | {"text": text, "audio_s": length_s, "batch_size": len(ids)}
        del row["event"]
        yield dict(_flat(row))


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, part in value.items():
        if isinstance(part, dict):
            yield from _flat(part, f"{prefix}{key}.")
        elif isinstance(part, list | bool):
            yield prefix + key, strict_json(part)
        else:
            yield prefix + key, encodable(part) if isinstance(part, str) else part
