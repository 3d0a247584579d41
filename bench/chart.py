#!/usr/bin/env python3
"""A picture of what make bench measured: for each row with a goal a bar, as long as the
measure is in parts of its goal.

    chart.py BENCH.JSON OUT.SVG
"""
import json
import sys
from xml.sax.saxutils import escape

ROW, LEFT, WIDE, RIGHT = 18, 330, 360, 190  # pixels
MOST = 1.5  # of the goal: longer bars are cut


def part_of_goal(row):
    """At most 1 where the goal is reached, whichever way it points."""
    got = row["ratio"] if row["goal_is"] == "ratio" else row["value"]
    if not row["goal"] or got <= 0:
        return 0.0
    return row["goal"] / got if row.get("at_least") else got / row["goal"]


def figure(row):
    text = f"{row['value']:.2f} {row['unit']}"
    if row["ratio"] is not None:
        text += f", {row['ratio']:.2f} x"
    sign = ">=" if row.get("at_least") else "<="
    return f"{text}  ({sign} {row['goal']:g} {'x' if row['goal_is'] == 'ratio' else row['unit']})"


def draw(machine, rows):
    height = ROW * (len(rows) + 4)
    at_goal = LEFT + WIDE / MOST
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDE + RIGHT}" height="{height}" '
           'font-family="sans-serif" font-size="11">',
           f'<rect width="{LEFT + WIDE + RIGHT}" height="{height}" fill="white"/>',
           f'<text x="8" y="{ROW}" font-size="13">Godwit against its goals: shorter is better; the line is '
           'the goal</text>',
           f'<text x="8" y="{2 * ROW}" fill="#555">' + escape(
               "{date}, Linux {kernel}, {cpu}, {cores} cores, load {load}, {file_system}, median of {pairs} pairs"
               .format(**machine)) + "</text>"]
    for i, row in enumerate(rows):
        y, part = ROW * (i + 3), part_of_goal(row)
        length = min(part, MOST) * WIDE / MOST
        color = "#4a8" if row["reached"] else "#c64"
        out += [f'<text x="{LEFT - 6}" y="{y + 12}" text-anchor="end">{escape(row["measure"])}</text>',
                f'<rect x="{LEFT}" y="{y + 3}" width="{max(length, 1):.1f}" height="{ROW - 6}" fill="{color}"/>',
                f'<text x="{LEFT + WIDE + 6}" y="{y + 12}">{escape(figure(row))}</text>']
    out += [f'<line x1="{at_goal:.1f}" y1="{2.6 * ROW:.1f}" x2="{at_goal:.1f}" y2="{height - ROW / 2:.1f}" stroke="#222"/>',
            "</svg>", ""]
    return "\n".join(out)


def main(source, target):
    with open(source, encoding="utf-8") as f:
        data = json.load(f)
    rows = [r for r in data["rows"] if r["goal"] is not None]
    with open(target, "w", encoding="utf-8") as f:
        f.write(draw(data["machine"], rows))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
