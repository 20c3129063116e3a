"""What a figure was measured on: the machine, and what its process tree used."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_SAMPLE_SECONDS = 0.25


def description() -> list[str]:
    """The machine, and how busy it was before anything began."""
    memory = psutil.virtual_memory()
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    return [
        f"CPU         {_cpu_model()}, {psutil.cpu_count()} cores",
        f"memory      {memory.total / 2**30:.1f} GB, {memory.available / 2**30:.1f} GB of it free",
        f"system      {platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"load        {load} (1, 5 and 15 minutes, at the start)",
    ]


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@dataclass
class Usage:
    """What a process tree used while it was watched: CPU seconds, and the most memory at once (RSS, in bytes).

    `cpu_by_part` is what was seen at the last look, so up to a look less than `cpu_seconds`, which is in total.
    """

    cpu_seconds: float = 0.0
    cpu_by_part: dict[str, float] = field(default_factory=dict)
    load: float = 0.0
    peak_bytes: dict[str, int] = field(default_factory=dict)

    def peak_mb(self, part: str) -> float:
        """The most that one part had, in MB."""
        return self.peak_bytes.get(part, 0) / 1e6


@dataclass(frozen=True)
class Tree:
    """A process and what it started but for `spared`, such as the broker and its guardian.

    Without a `root` it is this process. One that is given may end meanwhile: its CPU seconds are what was seen of
    each process last.
    """

    spared: Sequence[int] = ()
    root: int | None = None

    @contextmanager
    def watched(self) -> Iterator[Usage]:
        """Measure what happens meanwhile; the usage is complete afterwards."""
        usage, done = Usage(), threading.Event()
        seen: dict[int, tuple[str, float]] = {}
        before = self._cpu_seconds()
        sampler = threading.Thread(target=self._sample, args=(usage, seen, done), daemon=True)
        sampler.start()
        try:
            yield usage
        finally:
            done.set()
            sampler.join()
            for part, seconds in seen.values():
                usage.cpu_by_part[part] = usage.cpu_by_part.get(part, 0.0) + seconds
            total = self._cpu_seconds() if self.root is None else sum(usage.cpu_by_part.values())
            usage.cpu_seconds = total - before
            usage.load = os.getloadavg()[0]

    def _processes(self) -> list[psutil.Process]:
        try:
            own = psutil.Process(self.root)
            return [own, *(child for child in own.children(recursive=True) if child.pid not in self.spared)]
        except psutil.NoSuchProcess:
            return []

    def _cpu_seconds(self) -> float:
        """All time of the living ones, and of those whose end a living one has waited for."""
        total = 0.0
        for process in self._processes():
            try:
                total += sum(process.cpu_times()[:4])
            except psutil.Error:
                continue
        return total

    def _sample(self, usage: Usage, seen: dict[int, tuple[str, float]], done: threading.Event) -> None:
        while True:
            now: dict[str, int] = {}
            for process in self._processes():
                try:
                    part, size = self._part(process), process.memory_info().rss
                    seen[process.pid] = part, sum(process.cpu_times()[:2])
                except psutil.Error:
                    continue
                now[part] = now.get(part, 0) + size
            for part, size in now.items():
                usage.peak_bytes[part] = max(size, usage.peak_bytes.get(part, 0))
            if done.wait(_SAMPLE_SECONDS):
                return

    def _part(self, process: psutil.Process) -> str:
        """Which part of the memory a process has; a copy that the JVM makes of itself to start a tool has none."""
        root = self.root or os.getpid()
        if process.pid == root:
            return "driver"
        if process.name() == "java":
            return "jvm" if process.ppid() == root else "tools"
        return "workers" if process.name().startswith(("python", "pyspark")) else "tools"
