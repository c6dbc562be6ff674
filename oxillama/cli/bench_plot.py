"""The picture of `oxillama bench`: where each task lies under the machine's roofline, and the rates as bars."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from oxillama.errors import InvalidRequestError, OxillamaError
from oxillama.extras import install_line

SUFFIXES = (".svg", ".png", ".pdf")


def load_matplotlib() -> Any:
    """matplotlib.pyplot, drawing into files. Not a dependency: the extra `bench` has it."""
    try:
        import matplotlib
    except ImportError:
        raise OxillamaError(f"--plot needs matplotlib, which is not installed: {install_line('bench')}") from None
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "oxillama"  # the same figures give the same file
    from matplotlib import pyplot

    return pyplot


def check_plot(path: str) -> None:
    """Raises what would otherwise be found out only after the measuring."""
    if Path(path).suffix not in SUFFIXES:
        raise InvalidRequestError(
            f"--plot is {path!r}, expected a name that ends with .svg, .png or .pdf", param="plot"
        )
    if not Path(path).parent.is_dir():
        raise OxillamaError(f"--plot is {path!r}, but there is no folder {str(Path(path).parent)!r}")
    load_matplotlib()


def plot(report: dict[str, Any], path: Path) -> None:
    """Draws a report of `oxillama bench --json`, the rows of the largest number of threads."""
    pyplot = load_matplotlib()
    threads = max(row["threads"] for row in report["results"])
    rows = [row for row in report["results"] if row["threads"] == threads]
    figure, (roof, bars) = pyplot.subplots(1, 2, figsize=(12, 5), layout="constrained")
    figure.suptitle(f"{report['model']}, {threads} threads, {report['cpu']['model_name']}, {report['cpu']['isa']}")
    _draw_roofline(roof, rows, report["work"])
    _draw_bars(bars, rows)
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def _label(row: dict[str, Any]) -> str:
    times = f" x {row['batch']}" if row["batch"] > 1 else ""
    return f"{row['kind']} {row['tokens']}{times}" + (f" at {row['depth']}" if row["depth"] else "")


def _intensity(row: dict[str, Any], work: dict[str, Any]) -> float:
    """Operations per byte. A prefill reads the weights once per step of up to 512 tokens."""
    if row["gigabytes_per_second"]:
        return float(row["gigaoperations_per_second"] / row["gigabytes_per_second"])
    return float(work["prefill_operations"] * min(row["tokens"], 512) / work["weight_bytes"])


def _draw_roofline(axes: Any, rows: list[dict[str, Any]], work: dict[str, Any]) -> None:
    bandwidth = max(row["bandwidth"] for row in rows)
    peak = max(row["peak"] for row in rows)
    places = [_intensity(row, work) for row in rows]
    left, right = min(places) / 2, max(places) * 2
    if peak:
        ridge = peak / bandwidth
        ends = [left, ridge, max(right, ridge * 2)] if left < ridge else [left, right]
        axes.plot(ends, [min(peak, x * bandwidth) for x in ends], color="black", linewidth=1.5)
        kind = "int8" if work["is_int8"] else "float32"
        axes.annotate(f"{kind} peak {peak:.0f} GOP/s", (ends[-1], peak), (0, 4), textcoords="offset points", ha="right")
    else:
        axes.plot([left, right], [left * bandwidth, right * bandwidth], color="black", linewidth=1.5)
    middle = (left * (min(peak / bandwidth, right) if peak else right)) ** 0.5
    place = (middle, middle * bandwidth)
    axes.annotate(f"reads {bandwidth:.0f} GB/s", place, (-6, 4), textcoords="offset points", ha="right")
    for number, (row, x) in enumerate(zip(rows, places, strict=True)):
        axes.plot(x, row["gigaoperations_per_second"], "o" if row["kind"] == "decode" else "s", color=f"C{number % 10}")
        axes.annotate(
            _label(row), (x, row["gigaoperations_per_second"]), (6, -10), textcoords="offset points", fontsize=8
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operations per byte read")
    axes.set_ylabel("GOP/s")
    axes.grid(alpha=0.3)


def _draw_bars(axes: Any, rows: list[dict[str, Any]]) -> None:
    places = range(len(rows))
    rates = [row["tokens_per_second"] for row in rows]
    axes.barh(places, rates, color=[f"C{number % 10}" for number in places])
    axes.set_yticks(list(places), [_label(row) for row in rows], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("tokens per second")
    for place, rate in zip(places, rates, strict=True):
        axes.annotate(f"{rate:.0f}", (rate, place), (3, 0), textcoords="offset points", va="center", fontsize=8)
    axes.margins(x=0.12)
