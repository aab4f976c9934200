"""Medians, spreads and ratios, as lines of text."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.workloads import Workload

Samples = list[dict[str, Any]]
HEADER = f"{'':5}{'rate':>12} {'unit':9}{'seconds':>9} {'(min .. max)':18}{'p50/p99 ms':>16}{'cpu s':>8}"


def line(side: str, workload: Workload, samples: Samples) -> str:
    """One side's figures for a workload: the median run, with the spread of all runs."""
    good = [sample for sample in samples if "error" not in sample]
    bad = [str(sample["error"]) for sample in samples if "error" in sample]
    if not good:
        return f"  {side:5}failed: {bad[0] if bad else 'not run'}"
    good.sort(key=lambda sample: float(sample["seconds"]))
    middle = good[len(good) // 2]
    latencies = f"{middle['p50_ms']:.2f}/{middle['p99_ms']:.2f}" if middle.get("p50_ms") is not None else ""
    spread = f"({good[0]['seconds']:.3f} .. {good[-1]['seconds']:.3f})"
    rate = middle["count"] / middle["seconds"]
    text = (
        f"  {side:5}{rate:>12,.{0 if rate >= 10 else 2}f} {workload.unit + '/s':9}{middle['seconds']:>9.3f} {spread:18}{latencies:>16}"
        f"{middle['server_cpu_s']:>8.2f}"
    )
    extra = middle.get("extra") or {}
    if extra:
        text += "  " + ", ".join(f"{name} {value / 2**20:,.1f} MiB" for name, value in sorted(extra.items()))
    if bad:
        # Figures of the runs that went well say nothing of those that did not.
        text += f"\n  {side:5}{len(bad)} of {len(samples)} runs failed: {bad[0]}"
    return text


def ratio(ours: Samples, peer: Samples) -> str:
    """How many times faster ours is, run by run in turn: the median of the pairs and their range."""
    pairs = [
        (a["count"] / a["seconds"]) / (b["count"] / b["seconds"])
        for a, b in zip(ours, peer, strict=False)
        if "error" not in a and "error" not in b
    ]
    if not pairs:
        return "  ratio: none"
    return f"  ratio {statistics.median(pairs):.2f} (of {len(pairs)} pairs: {min(pairs):.2f} .. {max(pairs):.2f})"
