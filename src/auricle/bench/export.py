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
OF_LEVEL = ("arm", "phase", "live")
FORMATS: tuple[Format, ...] = get_args(Format)


def export(run: Run, form: str, out: TextIO) -> None:
    """Write a run as `json` (run.json and all events), `jsonl` (the events) or `csv`.

    CSV has a row for each stream of a live run: what its event and its level's say, as `auricle.bench.live.record`
    describes them, packets and messages counted. Of other runs it has one for each recognition of an utterance: what
    its `utterance` and its `batch` event say, as `auricle.bench.offline` describes them; times are those of the whole
    batch of `batch_size` utterances. A field of an object becomes a column `object.field`, a list is JSON text, null is
    empty. Raises UsageError for another format or a run without rows, RecordError for damaged events.
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
    references: dict[str, str] = {}
    rows: list[dict[str, Any]] = []
    for event in run.events():
        try:
            if event["event"] == "utterance":
                utterances[event["id"]] = event
            elif event["event"] == "programme":
                references[event["name"]] = " ".join(utterances[name]["reference"] for name, _ in event["pieces"])
            elif event["event"] == "batch":
                rows += _spread(event, utterances)
            elif event["event"] == "stream":
                rows.append(_stream(event, references[event["programme"]]))
            elif event["event"] == "level":
                of_level = {name: event[name] for name in OF_LEVEL}
                rows = [row | of_level if row["level"] == event["level"] else row for row in rows]
        except (LookupError, TypeError, ValueError) as error:
            raise RecordError("an event is malformed", f"{run.path}, at {event.get('t_s')} s", repr(error)) from error
    if not rows:
        raise UsageError("the run has no batches or streams to put into rows", run.id, "export it as json or jsonl")
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


def _stream(event: dict[str, Any], reference: str) -> dict[str, Any]:
    """Return the row of a stream; its level is known when that is over, so that of an interrupted one has no load."""
    fields = {name: value for name, value in event.items() if name != "event" and not isinstance(value, list)}
    counts = {"packets": len(event["sent_s"]), "packets_held": len(event["held"]), "messages": len(event["messages"])}
    text = " ".join(said for _, _, is_final, said, _ in event["messages"] if is_final and said)
    return dict.fromkeys(OF_LEVEL) | dict(_flat(fields)) | counts | {"reference": reference, "text": text}


def _flat(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, part in value.items():
        if isinstance(part, dict):
            yield from _flat(part, f"{prefix}{key}.")
        elif isinstance(part, list | bool):
            yield prefix + key, strict_json(part)
        else:
            yield prefix + key, encodable(part) if isinstance(part, str) else part
