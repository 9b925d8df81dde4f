"""What docs/engines.md says that engines can is what they say themselves."""

from __future__ import annotations

from tools.engine_table import DOCS, table, table_in


def test_the_table_of_engines_is_what_the_engines_say() -> None:
    assert table_in(DOCS.read_text(encoding="utf-8")) == table(), "run python tools/engine_table.py --write"
