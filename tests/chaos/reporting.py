"""What the long runs print."""

import statistics

import load
from faults import Timeline


def line(label: str, text: str) -> None:
    print(f"{label:<12} {text}")


def listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {count:,}" for what, count in counts.items())


def print_load(outcome: load.Outcome, seconds: float, began: float, faults: Timeline) -> None:
    total = sum(outcome.requests.values())
    line("requests", f"{total:,} ({total / seconds:,.0f} a second): {listed(outcome.requests)}")
    if len(outcome.seconds) > 1:
        thousandths = statistics.quantiles(outcome.seconds, n=1000)
        median, p99, p999 = (f"{1000 * thousandths[place - 1]:.0f} ms" for place in (500, 990, 999))
        line("answers", f"median {median}, p99 {p99}, p99.9 {p999}")
    for took, at, what in outcome.slowest:
        line("  slow", f"{took:.2f} s, asked at {at - began:.1f} s: {what} ({faults.around(at)})")
