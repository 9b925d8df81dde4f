"""A report in a real browser: nothing to complain of, all plots there, small, and printable."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING

import pytest

from auricle.report.document import document
from auricle.report.page import to_html

if TYPE_CHECKING:
    from pathlib import Path

    from auricle.bench.records import Run

LIMIT_S = 120
MOST_BYTES = 3_000_000
SIZES = {"desktop": (1200, 2400), "phone": (390, 3000)}
DARK = "--blink-settings=preferredColorScheme=0"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def chromium() -> str:
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium was found; install one, or set CHROMIUM to its command")
    return found


@pytest.fixture(scope="module")
def page(two_arms: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(to_html(document([two_arms])), encoding="utf-8")
    return path


def browse(chromium: str, page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options]
    return subprocess.run(
        [*command, page.as_uri()], capture_output=True, text=True, timeout=LIMIT_S, check=True, cwd=page.parent
    )


def width_of(picture: Path) -> int:
    header = picture.read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    return int(struct.unpack(">I", header[16:20])[0])


def test_the_console_is_silent_and_every_plot_is_in_the_page(chromium: str, page: Path) -> None:
    done = browse(chromium, page, "--dump-dom")
    assert "CONSOLE" not in done.stderr
    assert done.stdout.count("<svg ") == document_plots(page) >= 5
    assert page.stat().st_size < MOST_BYTES


def document_plots(page: Path) -> int:
    return page.read_text(encoding="utf-8").count("<figure ")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_drawn_in_light_and_dark_on_desktop_and_phone(
    chromium: str, page: Path, size: str, scheme: str, tmp_path: Path
) -> None:
    wide, high = SIZES[size]
    picture = tmp_path / "page.png"
    options = ["--hide-scrollbars", f"--window-size={wide},{high}", f"--screenshot={picture}"]
    done = browse(chromium, page, *options, *([DARK] if scheme == "dark" else []))
    assert "CONSOLE" not in done.stderr
    assert width_of(picture) == wide
    assert picture.stat().st_size > 30_000


def test_it_prints_to_pdf(chromium: str, page: Path, tmp_path: Path) -> None:
    printed = tmp_path / "report.pdf"
    browse(chromium, page, f"--print-to-pdf={printed}")
    assert printed.read_bytes().startswith(b"%PDF")
    assert printed.stat().st_size > 20_000
