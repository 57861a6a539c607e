"""The roofline picture: operations a second over operations per byte, both axes logarithmic."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 460, 80, 40, 20, 60
CEILINGS = {"fp32_fma_GFLOPs": "fp32", "bf16_dot_GFLOPs": "bf16 dot", "int16_dot_GOPs": "int16 dot", "int8_dot_GOPs": "int8 dot",
            "amx_bf16_GFLOPs": "bf16 tiles", "amx_int8_GOPs": "int8 tiles"}


class Axes:
    def __init__(self, x: tuple[float, float], y: tuple[float, float]):
        self.x, self.y = [math.log10(v) for v in x], [math.log10(v) for v in y]

    def at(self, x: float, y: float) -> tuple[float, float]:
        along = (math.log10(x) - self.x[0]) / (self.x[1] - self.x[0])
        up = (math.log10(y) - self.y[0]) / (self.y[1] - self.y[0])
        return LEFT + along * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)


def text(x: float, y: float, content: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(content)}</text>'


def line(a: tuple[float, float], b: tuple[float, float], style: str) -> str:
    return f'<line x1="{a[0]:.1f}" y1="{a[1]:.1f}" x2="{b[0]:.1f}" y2="{b[1]:.1f}" {style}/>'


def grid(axes: Axes, x: tuple[float, float], y: tuple[float, float]) -> list[str]:
    thin, parts = 'stroke="#ddd"', []
    for power in range(math.ceil(axes.x[0]), math.floor(axes.x[1]) + 1):
        a, b = axes.at(10**power, y[0]), axes.at(10**power, y[1])
        parts += [line(a, b, thin), text(a[0], a[1] + 18, f"{10.0**power:g}", "middle")]
    for power in range(math.ceil(axes.y[0]), math.floor(axes.y[1]) + 1):
        a, b = axes.at(x[0], 10**power), axes.at(x[1], 10**power)
        parts += [line(a, b, thin), text(a[0] - 8, a[1] + 4, f"{10.0**power:g}", "end")]
    return parts


def picture(result: dict) -> str:
    """SVG of limits.py's result."""
    limits, threads = result["limits"], str(result["limits"]["threads"])
    bandwidth = limits["read_memory_GBs"][threads]
    ceilings = {label: limits[name][threads] for name, label in CEILINGS.items() if name in limits}
    x, y = (0.5, 5000.0), (10.0, 2 * max(ceilings.values()))
    axes = Axes(x, y)
    parts = grid(axes, x, y)
    roof = max(ceilings.values())
    parts.append(line(axes.at(x[0], max(y[0], bandwidth * x[0])), axes.at(roof / bandwidth, roof),
                      'stroke="#1f5fa8" stroke-width="2"'))
    parts.append(text(axes.at(1.2, bandwidth * 2.1)[0], axes.at(1.2, bandwidth * 2.1)[1],
                      f"memory {bandwidth:.0f} GB/s"))
    for label, peak in ceilings.items():
        begin, end = axes.at(peak / bandwidth, peak), axes.at(x[1], peak)
        parts += [line(begin, end, 'stroke="#1f5fa8" stroke-width="2"'),
                  text(end[0] - 4, end[1] - 5, f"{label} {peak:.0f}", "end")]
    for row in result["reached"]:
        at = axes.at(min(max(row["flops_per_byte"], x[0]), x[1]), max(row["GFLOPs"], y[0]))
        parts += [f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="5" fill="#b3261e"/>',
                  text(at[0] + 9, at[1] + 4, f"{row['test']}: {row['tokens_s']:.1f} t/s")]
    parts += [text(WIDTH / 2, HEIGHT - 14, "operations per byte of weights", "middle"),
              text(LEFT, 22, "Roofline: GFLOP/s (GOP/s for int8), " + result["machine"]["cpu"], size=14)]
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            f'font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
            + "\n".join(parts) + "\n</svg>\n")
