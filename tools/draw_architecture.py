"""Draw how data flow through the stages, and what imports what, as an SVG picture.

The stages are on the left, the packages that they import in the middle, and the other
packages on the right. Names, words and their order are those of docs/architecture.md.
"""

import re
from argparse import ArgumentParser
from html import escape
from pathlib import Path

import grimp
import yaml

# The left end, the width and the height of the boxes of a column, the distance of two
# boxes in a row, and the arrow from a box to the packages in the middle.
COLUMNS = {
    "stage": (12, 96, 32, 52, "M108 {}H136"),
    "package": (136, 222, 46, 0, ""),
    "other": (394, 218, 46, 54, "M394 {}H358"),
}
X_DATA, X_UP, TOP, GAP = 60, 247, 68, 14  # of vertical arrows, and of the rows
MAX_LETTERS = 29  # of the words below a name
PICTURE = """<svg width="624" viewBox="0 0 624 {height}"
 xmlns="http://www.w3.org/2000/svg"><style>
svg {{ --back: #fff; --text: #1c2128; --soft: #5b6470; --data: #7b43c6;
  --used: #eaf3fa; --line: #0072b2; --other: #f6f7f9; --edge: #a3abb6; }}
@media (prefers-color-scheme: dark) {{ svg {{ --back: #14171c; --text: #e6e9ee;
  --soft: #a0a9b5; --data: #8d5bd6; --used: #14283b; --line: #56b4e9; --other: #1d2229;
  --edge: #5f6976; }} }}
text {{ font: 12.5px system-ui, "Segoe UI", Roboto, sans-serif; fill: var(--soft); }}
.name {{ font-size: 16px; font-weight: 600; fill: var(--text); }}
.stage text, .label {{ text-anchor: middle; }} .stage .name {{ fill: #fff; }}
.back {{ fill: var(--back); }} .stage rect {{ fill: var(--data); }}
.package rect {{ fill: var(--used); stroke: var(--line); }}
.other rect {{ fill: var(--other); stroke: var(--edge); }}
.import {{ fill: none; stroke: var(--soft); marker-end: url(#import); }}
.data {{ stroke: var(--data); stroke-width: 2.5; marker-end: url(#data); }}
#import path {{ fill: var(--soft); }} #data path {{ fill: var(--data); }}
</style>
<marker id="import" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
 orient="auto"><path d="M0 0L8 4L0 8z"/></marker>
<marker id="data" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="4.5"
 markerHeight="4.5" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>
<rect class="back" width="100%" height="100%"/>
<text class="name" x="12" y="28">Stages</text>
<text class="name" x="136" y="28">What they import</text>
<text class="name" x="394" y="28">Other packages</text>
<text class="label" x="60" y="54">data/raw</text>
<g transform="translate(0 {bottom})">
<text class="label" x="60" y="28">models, metrics</text>
<path class="data" d="M394 24h30"/><text x="432" y="28">data</text>
<path class="import" d="M484 24h30"/><text x="522" y="28">imports</text></g>
{shapes}
</svg>
"""


def read_words() -> dict[str, str]:
    """Return the first words about each package, in the order of the page."""
    page = Path("docs/architecture.md").read_text("utf-8")
    pattern = rf"^  (\w+)(?:/|\.py) +(.{{,{MAX_LETTERS}}}(?=[,:;]|$)|)"
    return dict(re.findall(pattern, page, re.MULTILINE))


def read_imports() -> dict[str, set[str]]:
    """Return what each package and each stage imports, also through others."""
    graph = grimp.build_graph("stages", "keras_tabular")
    for package in graph.find_children("keras_tabular"):
        graph.squash_module(package)
    return {
        module.removeprefix("keras_tabular."): {
            imported.removeprefix("keras_tabular.")
            for imported in graph.find_upstream_modules(module)
        }
        for module in graph.modules
    }


def draw_box(column: str, y: float, height: float, name: str, words: str) -> str:
    """Draw a box around this y, with a name and words below it."""
    x, width, *_ = COLUMNS[column]
    x_text = X_DATA if column == "stage" else x + 12
    return (
        f'<g class="{column}"><rect x="{x}" y="{y - height / 2}" width="{width}"'
        f' height="{height}" rx="8"/>'
        f'<text class="name" x="{x_text}" y="{y - 3 if words else y + 6}">'
        f"{escape(name.removeprefix('stages.'))}</text>"
        f'<text x="{x_text}" y="{y + 15}">{escape(words)}</text></g>'
    )


def draw(stages: list[str], words: dict[str, str], imports: dict[str, set[str]]) -> str:
    """Draw a row for each package that a stage imports.

    A stage or another package is in the row of the last package that it imports.
    """
    imported = set().union(*(imports[stage] for stage in stages))
    packages = [name for name in words if name in imported]
    boxes, arrows, flow, bottoms = [], [], [TOP - 6.0], [TOP - GAP]
    for row, package in enumerate(packages):
        in_row = [
            ("stage" if name in stages else "other", name)
            for name in [*stages, *words]
            if name not in packages
            and max(map(packages.index, imports[name].intersection(packages))) == row
        ]
        columns = [column for column, _ in in_row]
        height = COLUMNS["package"][2]
        for column in columns:
            _, _, box, step, _ = COLUMNS[column]
            height = max(height, box + step * (columns.count(column) - 1))
        top = bottoms[-1] + GAP
        center = top + height / 2
        bottoms.append(top + height)
        boxes.append(draw_box("package", center, height, package, words[package]))
        for n, (column, name) in enumerate(in_row):
            _, _, box, step, arrow = COLUMNS[column]
            place = n - columns.index(column) - (columns.count(column) - 1) / 2
            y = center + step * place
            boxes.append(draw_box(column, y, box, name, words.get(name, "")))
            arrows.append(f'<path class="import" d="{arrow.format(y)}"/>')
            if column == "stage":
                flow += [y - box / 2, y + box / 2]
        through_others = [imports[name] for name in imports[package]]
        direct = imports[package].difference(*through_others)
        for above in range(row):
            if packages[above] in direct:
                start, end = top + 12, bottoms[above + 1] - 12
                curve = f"M358 {start}C384 {start} 384 {end} 358 {end}"
                line = f"M{X_UP} {top}V{bottoms[row]}" if above == row - 1 else curve
                arrows.append(f'<path class="import" d="{line}"/>')
    bottom = bottoms[-1]
    for upper, lower in zip(flow[::2], [*flow[1::2], bottom + 8], strict=True):
        arrows.append(f'<path class="data" d="M{X_DATA} {upper}V{lower}"/>')
    shapes = "\n".join(boxes + arrows)
    return PICTURE.format(shapes=shapes, bottom=bottom, height=bottom + 44)


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path, help="the SVG file to write")
    args = parser.parse_args()
    pipeline = yaml.safe_load(Path("dvc.yaml").read_text("utf-8"))["stages"]
    stages = [f"stages.{name}" for name in pipeline]
    args.output.write_text(draw(stages, read_words(), read_imports()), "utf-8")


if __name__ == "__main__":
    main()
