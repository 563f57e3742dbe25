"""Draws what growth.py has measured: two panels, logarithmic axes, ours solid and Apache dashed. Nothing but text."""

import math

WIDTH, HEIGHT = 860, 400
PANEL_WIDTH, PANEL_HEIGHT = 310, 270
LEFTS, TOP = (70, 460), 60
COLOURS = {"get": "#1b6ca8", "set": "#c0392b", "create": "#2e7d32"}
NAMES = {"znodes": "znodes below one parent (64 connections)", "connections": "connections (10,000 znodes)"}


def short(value):
    """1000 is 1k."""
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if value >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"


class Axis:
    """A logarithmic axis over whole decades."""

    def __init__(self, values, start, end):
        self.low = math.floor(math.log10(min(values)) + 1e-9)
        self.high = max(math.ceil(math.log10(max(values)) - 1e-9), self.low + 1)
        self.start, self.end = start, end

    def at(self, value):
        part = (math.log10(value) - self.low) / (self.high - self.low)
        return round(self.start + part * (self.end - self.start), 1)

    def decades(self):
        return [10**power for power in range(self.low, self.high + 1)]


def text(x, y, words, anchor="middle", size=12, more=""):
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="{size}"{more}>{words}</text>'


def panel(name, left, sides, rates):
    lines = [series for by_workload in sides.values() for series in by_workload.values()]
    x = Axis([value for series in lines for value, _ in series], left, left + PANEL_WIDTH)
    y = Axis(rates, TOP + PANEL_HEIGHT, TOP)
    out = []
    for value in y.decades():
        out.append(f'<path d="M{left} {y.at(value)}h{PANEL_WIDTH}" stroke="#ddd"/>')
        out.append(text(left - 8, y.at(value) + 4, short(value), "end"))
    for value in x.decades():
        out.append(f'<path d="M{x.at(value)} {TOP}v{PANEL_HEIGHT}" stroke="#eee"/>')
        out.append(text(x.at(value), TOP + PANEL_HEIGHT + 18, short(value)))
    out.append(text(left + PANEL_WIDTH / 2, TOP + PANEL_HEIGHT + 42, NAMES[name], size=13))
    for side, by_workload in sides.items():
        dash = ' stroke-dasharray="6 4"' if side == "apache" else ""
        for workload, series in by_workload.items():
            colour = COLOURS[workload]
            points = " ".join(f"{x.at(value)},{y.at(rate)}" for value, rate in series)
            out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
            out += [f'<circle cx="{x.at(v)}" cy="{y.at(r)}" r="3" fill="{colour}"/>' for v, r in series]
    return out


def legend(sides):
    out, left = [], LEFTS[0]
    for side in sides:
        dash = ' stroke-dasharray="6 4"' if side == "apache" else ""
        for workload, colour in COLOURS.items():
            out.append(f'<path d="M{left} 30h28" stroke="{colour}" stroke-width="2"{dash}/>')
            out.append(text(left + 34, 34, f"{workload} {'Apache' if side == 'apache' else side}", "start"))
            left += 125
    return out


def draw(found):
    """An SVG document of growth.py's figures."""
    panels = {name: found[name] for name in NAMES if found.get(name)}
    rates = [rate for sides in panels.values() for by in sides.values() for s in by.values() for _, rate in s]
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        text(18, TOP + PANEL_HEIGHT / 2, "operations a second", size=13, more=f' transform="rotate(-90 18 {TOP + PANEL_HEIGHT / 2})"'),
    ]
    out += legend(sorted({side for sides in panels.values() for side in sides}, reverse=True))
    for (name, sides), left in zip(panels.items(), LEFTS):
        out += panel(name, left, sides, rates)
    return "\n".join([*out, "</svg>"]) + "\n"
