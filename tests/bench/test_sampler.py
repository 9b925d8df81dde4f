import json
import mmap
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from auricle.bench.sampler import Sampler
from auricle.errors import UsageError

MB = 1_000_000
HOLD = "import sys; data = bytearray({size}); print(flush=True); sys.stdin.read()"
RUN_A_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"


class NamesOnce:
    """Names no processes the first time and fails the second."""

    def __init__(self) -> None:
        self.calls = 0

    def pids(self) -> list[int]:
        self.calls += 1
        if self.calls > 1:
            raise LookupError("asked twice")
        return []


@contextmanager
def process(code: str) -> Iterator[psutil.Process]:
    """Run Python code that prints a line when it is ready, until the body is done."""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield psutil.Process(child.pid)
        finally:
            child.stdin.close()


def test_the_peak_holds_what_this_process_took_and_gave_back() -> None:
    with Sampler(period_s=0.01) as sampler:
        before = sampler.window()
        data = bytearray(100 * MB)
        sampler.mark()
        del data
    usage = sampler.window()
    assert usage.peak_rss_own_bytes - before.peak_rss_own_bytes == pytest.approx(100 * MB, rel=0.1)
    assert usage.peak_rss_bytes > usage.mean_rss_bytes > 0


def test_a_child_counts_and_is_told_apart_from_this_process() -> None:
    with Sampler() as sampler, process(HOLD.format(size=100 * MB)):
        start_s = sampler.mark()
        usage = sampler.window(start_s)
    assert usage.peak_rss_children_bytes > 100 * MB
    assert usage.peak_rss_bytes == usage.peak_rss_own_bytes + usage.peak_rss_children_bytes
    assert sampler.samples[-1].children == 0


def test_a_grandchild_counts_too() -> None:
    with Sampler() as sampler, process(RUN_A_CHILD.format(code=HOLD.format(size=100 * MB))):
        usage = sampler.window(sampler.mark())
    assert usage.peak_rss_children_bytes > 100 * MB


def test_a_child_is_found_without_a_mark() -> None:
    with Sampler(period_s=0.05) as sampler, process(HOLD.format(size=100 * MB)):
        deadline_s = time.monotonic() + 20
        while not sampler.samples[-1].children and time.monotonic() < deadline_s:
            time.sleep(0.05)
        assert sampler.samples[-1].rss_children_bytes > 100 * MB


def test_a_window_holds_its_own_samples_alone() -> None:
    with Sampler(period_s=0.01) as sampler:
        pages = 100 * MB // mmap.PAGESIZE
        data = mmap.mmap(-1, pages * mmap.PAGESIZE)  # which no allocator keeps
        data[:: mmap.PAGESIZE] = b"x" * pages
        first = sampler.window(sampler.mark(), sampler.mark())
        data.close()
        second = sampler.window(sampler.mark(), sampler.mark())
    assert first.peak_rss_bytes - second.peak_rss_bytes > 80 * MB
    assert first.samples >= 2


def test_the_cpu_time_of_a_child_that_ended_stays_counted() -> None:
    burn = "import sys, time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); sys.stdin.read()"
    with Sampler(period_s=0.02) as sampler:
        start_s = sampler.mark()
        with process(burn):
            sampler.mark()
        end_s = sampler.mark()
        usage = sampler.window(start_s, end_s)
    assert 0.4 <= usage.cpu_children_s < 2.0
    assert usage.cpu_own_s < 0.4


def test_the_cpu_time_of_before_the_sampler_is_not_counted() -> None:
    burn = "import sys, time\nwhile time.process_time() < 0.5: pass\nprint(flush=True); sys.stdin.read()"
    with process(burn), Sampler() as sampler:
        sampler.mark()
    assert sampler.samples[-1].cpu_children_s < 0.3


def test_this_process_s_cpu_time_is_its_own() -> None:
    with Sampler() as sampler:
        start_s = sampler.mark()
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        usage = sampler.window(start_s, sampler.mark())
    assert 0.15 <= usage.cpu_own_s < 1.0
    assert usage.cpu_children_s == 0


def test_named_processes_stand_in_for_the_descendants() -> None:
    with process(HOLD.format(size=100 * MB)) as large, process(HOLD.format(size=1)) as small:
        with Sampler(lambda: [small.pid, small.pid]) as sampler:
            usage = sampler.window(sampler.mark())
        assert 0 < usage.peak_rss_children_bytes < 100 * MB < large.memory_info().rss
    assert sampler.samples[-1].children == 1


def test_the_descendants_of_a_named_process_count_too() -> None:
    code = RUN_A_CHILD.format(code=HOLD.format(size=100 * MB))
    with process(code) as parent, Sampler(lambda: [parent.pid]) as sampler:
        usage = sampler.window(sampler.mark())
    assert usage.peak_rss_children_bytes > 100 * MB
    assert sampler.samples[-1].children == 2


def test_a_named_process_that_has_ended_counts_nothing() -> None:
    with process(HOLD.format(size=1)) as child:
        pass
    with Sampler(lambda: [child.pid]) as sampler:
        usage = sampler.window(sampler.mark())
    assert (usage.peak_rss_children_bytes, usage.unreadable) == (0, 0)


def test_a_process_that_ends_between_two_surveys_counts_nothing() -> None:
    with Sampler(period_s=0.01) as sampler:
        with process(HOLD.format(size=MB)):
            sampler.mark()
            assert sampler.samples[-1].children == 1
        gone_s = time.perf_counter()
        while sampler.samples[-1].at_s <= gone_s:
            time.sleep(0.01)
        assert sampler.samples[-1].children == 0


@pytest.mark.skipif(not psutil.LINUX, reason="the proportional set size is Linux's")
def test_memory_that_processes_share_counts_once_in_the_proportional_size() -> None:
    share = "import os, sys\ndata = bytearray(100_000_000)\n"
    share += "if os.fork(): print(flush=True); os.wait()\nelse: sys.stdin.read()"
    with Sampler() as sampler, process(share):
        usage = sampler.window(sampler.mark(), sampler.mark())
    assert usage.peak_pss_bytes is not None
    assert usage.peak_rss_children_bytes > 200 * MB
    assert usage.peak_pss_bytes < usage.peak_rss_bytes - 90 * MB
    assert usage.peak_pss_children_bytes is not None
    assert 100 * MB < usage.peak_pss_children_bytes < usage.peak_pss_bytes


def test_samples_come_at_the_period_and_cost_little() -> None:
    began_s = time.monotonic()
    with Sampler(period_s=0.05) as sampler:
        while len(sampler.samples) < 20 and time.monotonic() < began_s + 60:
            time.sleep(0.05)
    assert 20 <= len(sampler.samples) <= 4 + (time.monotonic() - began_s) / 0.05
    assert 0 < sampler.overhead_cores < 0.2


def test_a_sample_is_an_event_s_fields() -> None:
    with Sampler() as sampler:
        sampler.mark()
    fields = sampler.samples[0].fields()
    assert {"rss_own_bytes", "rss_children_bytes", "cpu_own_s", "cpu_children_s", "children", "gpus"} <= fields.keys()
    assert "at_s" not in fields
    assert json.dumps(fields)


def test_what_the_naming_of_processes_raises_is_raised_on_leaving() -> None:
    names = NamesOnce()
    sampler = Sampler(names.pids, period_s=0.01)
    sampler.__enter__()
    deadline_s = time.monotonic() + 60
    while names.calls < 2 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    with pytest.raises(LookupError, match="asked twice"):
        sampler.__exit__(None, None, None)


def test_an_error_of_the_body_is_raised_as_it_is() -> None:
    with pytest.raises(KeyError, match="mine"), Sampler():
        raise KeyError("mine")


def test_a_window_without_samples_is_refused() -> None:
    with Sampler() as sampler:
        pass
    with pytest.raises(UsageError, match="no sample lies in the window"):
        sampler.window(0.0, 0.0)


@pytest.mark.parametrize("period_s", [0.0, -1.0, float("nan")])
def test_a_period_must_be_above_zero(period_s: float) -> None:
    with pytest.raises(UsageError, match="above zero"):
        Sampler(period_s=period_s)
