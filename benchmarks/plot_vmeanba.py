#!/usr/bin/env python3
"""Draws what benchmarks/vmeanba.py measured: accuracy against speed-up, a line for each form.

  plot_vmeanba.py FILE.jsonl OUTPUT.svg"""
import json
import pathlib
import sys

FORMS = {"eliminated": ("#0060c0", "scans gone"), "linear": ("#c06000", "and linears fitted"),
         "filtered": ("#208020", "and filters fitted"), "literal": ("#808080", "literal"),
         "pruned": ("#a02060", "scans gone, 40 % pruned"), "pruned-filtered": ("#602080", "filters, 40 % pruned")}
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 56, 16, 16, 44


def ticks(low, high, step):
    first = int(-(-low // step))
    return [i * step for i in range(first, int(high // step) + 1)]


class Chart:
    def __init__(self, rows):
        xs, ys = [r["speedup"] for r in rows], [r["test"] for r in rows]
        self.x0, self.x1 = min(xs) - 0.05, max(xs) + 0.05
        self.y0, self.y1 = min(ys) - 1, max(ys) + 1
        self.parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
                      f'font-size="11">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']

    def place(self, x, y):
        return (LEFT + (x - self.x0) / (self.x1 - self.x0) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - (y - self.y0) / (self.y1 - self.y0) * (HEIGHT - TOP - BOTTOM))

    def text(self, x, y, text, anchor="middle", colour="#333"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{text}</text>')

    def line(self, x, y, to_x, to_y, colour="#ddd", style=""):
        self.parts.append(f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}" {style}/>')

    def axes(self):
        for value in ticks(self.x0, self.x1, 0.25):
            x, bottom = self.place(value, self.y0)
            self.line(x, bottom, x, TOP)
            self.text(x, bottom + 14, f"{value:.2f}")
        for value in ticks(self.y0, self.y1, 5):
            left, y = self.place(self.x0, value)
            self.line(left, y, WIDTH - RIGHT, y)
            self.text(left - 6, y + 4, f"{value:.0f}", "end")
        self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "times the speed of the model with all scans, one thread")
        self.text(LEFT, TOP - 4, "accuracy, %", "start")

    def goal(self, base):
        """At most one point lost, at least 1.3 times the speed."""
        x, y = self.place(1.3, base["test"] - 1)
        self.line(x, y, WIDTH - RIGHT, y, "#c00", 'stroke-dasharray="4 3"')
        self.line(x, y, x, TOP, "#c00", 'stroke-dasharray="4 3"')

    def series(self, form, rows, base, at):
        colour, label = FORMS[form]
        points = sorted(([base] if form in ("eliminated", "linear", "filtered") else []) + rows,
                        key=lambda r: r["collapsed"])
        places = [self.place(r["speedup"], r["test"]) for r in points]
        drawn = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        self.parts.append(f'<polyline fill="none" stroke="{colour}" points="{drawn}"/>')
        for row, (x, y) in zip(points, places):
            self.parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            self.text(x, y - 6, row["collapsed"], colour=colour)
        x, y = LEFT + 16, HEIGHT - BOTTOM - 16 - 15 * at
        self.parts.append(f'<circle cx="{x}" cy="{y - 4}" r="3" fill="{colour}"/>')
        self.text(x + 8, y, label, "start", colour)


def draw(rows):
    base = next(r for r in rows if r["form"] == "base")
    chart = Chart(rows)
    chart.axes()
    chart.goal(base)
    for at, form in enumerate(f for f in FORMS if any(r["form"] == f for r in rows)):
        chart.series(form, [r for r in rows if r["form"] == form], base, at)
    return "\n".join(chart.parts) + "\n</svg>\n"


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    lines = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    pathlib.Path(sys.argv[2]).write_text(draw([json.loads(line) for line in lines if '"speedup"' in line]), encoding="utf-8")


if __name__ == "__main__":
    main()
