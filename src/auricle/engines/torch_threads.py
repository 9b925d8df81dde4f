"""How many threads torch computes with: one number for the whole process, so that all its users must agree."""

from __future__ import annotations

import threading

from auricle.errors import UnsupportedError


class ProcessThreads:
    """torch's number of threads, held by the recognisers of a process while they are loaded.

    torch keeps it per process, and beside that each thread keeps the one it first computed with; so it is set in the
    thread that computes, before it does.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._count = 0
        self._before = 0

    @property
    def holders(self) -> int:
        """How many recognisers hold the number."""
        return self._holders

    def hold(self, wanted: int | None) -> int:
        """Hold `wanted` threads, None for as many as there are now, and return their number.

        Raises UnsupportedError when another recogniser holds another number.
        """
        import torch

        with self._lock:
            if not self._holders:
                self._before = torch.get_num_threads()
                self._count = wanted or self._before
            elif wanted not in {None, self._count}:
                raise UnsupportedError(
                    "torch has one number of threads in a process",
                    f"{wanted} wanted, {self._count} held by a model that is loaded",
                    "unload that one, ask for the same number, or use a process for each",
                )
            self._holders += 1
            torch.set_num_threads(self._count)
            return self._count

    def use(self) -> None:
        """Let the calling thread compute with the number that is held."""
        import torch

        if torch.get_num_threads() != self._count:
            torch.set_num_threads(self._count)

    def give_back(self) -> None:
        """Hold the number no more; the last one brings back what was there before."""
        import torch

        with self._lock:
            self._holders -= 1
            if not self._holders:
                torch.set_num_threads(self._before)


THREADS = ProcessThreads()
