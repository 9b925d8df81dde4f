"""A page of a report read back: its tables as text, and the data of its figures."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote


class Page(HTMLParser):
    """What a page says; fails for anything that it would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.svgs = 0
        self.titles: list[str] = []
        self.downloads: dict[str, list[list[str]]] = {}
        self.data: dict[str, Any] = {}
        self._rows: list[list[str]] = []
        self._caption = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        for name in ("src", "href"):
            value = told.get(name)
            assert value is None or value.startswith(("data:", "#")), f"the page fetches {value}"
        self._inside = tag
        if tag == "table":
            self._rows, self._caption = [], ""
        elif tag == "tr":
            self._rows.append([])
        elif tag in {"td", "th"}:
            self._rows[-1].append("")
        elif tag == "svg":
            self.svgs += 1
            assert told["role"] == "img"
            assert told["aria-label"]
        elif tag == "a" and told.get("download"):
            text = unquote(str(told["href"]).partition(",")[2])
            self.downloads[str(told["download"])] = list(csv.reader(text.splitlines()))

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self.tables[self._caption] = self._rows
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in {"td", "th"}:
            self._rows[-1][-1] += data
        elif self._inside == "caption":
            self._caption += data
        elif self._inside == "title":
            self.titles.append(data)
        elif self._inside == "script":
            self.data = json.loads(data)
