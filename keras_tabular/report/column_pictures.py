"""Pictures of columns: their values, their importance, their effect and their drift."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from keras_tabular.experiments.comparison import Comparison
from keras_tabular.prediction.drift import ColumnDrift
from keras_tabular.report import vega
from keras_tabular.report.pictures import Picture, points_of_runs
from keras_tabular.report.vega import BAR_HEIGHT, OTHER, SOFT, THIS, Spec, layer, quantitative


def importance_picture(comparison: Comparison) -> Picture | None:
    """Draw the permutation importance of the columns, the most important one first."""
    rows, labels = points_of_runs(comparison, "importance")
    if not rows:
        return None
    run_rows = [row for row in rows if row["series"] == labels[0]]
    columns = {row["column"] for row in run_rows}
    base_rows = [row for row in rows if row["series"] != labels[0] and row["column"] in columns]
    increase = {"x": quantitative("rise", "Increase of the loss"), "color": vega.colors(labels)}
    ends = {"x": quantitative("low"), "x2": {"field": "high"}}
    layers = [
        layer("bar", increase, run_rows, opacity=0.6, height=BAR_HEIGHT),
        layer("rule", ends, run_rows, strokeWidth=2, color=THIS),
        layer("tick", dict(increase), base_rows, thickness=3, height=BAR_HEIGHT),
    ]
    return Picture(
        "Importance of the columns",
        vega.named_chart([*run_rows, *base_rows], "column", layers),
        "Permutation importance: the mean increase of the loss when the column is shuffled ten "
        "times. The line from the minimum to the maximum shows the noise of shuffling, not how "
        "the importance varies between samples of rows. Correlated columns share their importance.",
    )


def effect_pictures(comparison: Comparison) -> list[Picture]:
    """Draw the effects of the most important columns on the prediction, on one scale."""
    effects = comparison.files["effects"].get("columns", [])
    ends = [end for effect in effects for key in ("low", "high", "effect") for end in effect[key]]
    limits = (min(ends, default=0), max(ends, default=0))
    pictures = []
    for effect in effects:
        quantity = target = comparison.run.target
        if "class" in effect:
            quantity = f"the probability that {target} is {effect['class']}"
        spec = draw_effect(effect, limits)
        pictures.append(Picture(effect["column"], spec, f"Change of {quantity}."))
    return pictures


def draw_effect(effect: Mapping[str, Any], limits: tuple[float, float]) -> Spec:
    """Draw an effect of effects.json, with the range of the members of the ensemble."""
    values, is_datetime = effect["values"], effect["kind"] == "datetime"
    if is_datetime:
        values = [datetime.fromtimestamp(value, UTC).isoformat() for value in values]
    points = zip(values, effect["effect"], effect["low"], effect["high"], strict=True)
    rows = [dict(zip(("value", "effect", "low", "high"), point, strict=True)) for point in points]
    scale = {"domain": list(limits), "nice": True}
    mean, low = (quantitative(field, scale=scale) for field in ("effect", "low"))
    high = {"field": "high"}
    if effect["kind"] == "category":
        layers = [
            layer("bar", {"x": mean}, color=THIS, opacity=0.6, height=BAR_HEIGHT),
            layer("rule", {"x": low, "x2": high}, color=THIS, strokeWidth=2),
        ]
        return vega.named_chart(rows, "value", layers)
    axis = {"type": "temporal"} if is_datetime else {"scale": {"zero": False}}
    x = quantitative("value", effect["column"]) | axis
    layers = [
        layer("area", {"x": x, "y": low, "y2": high}, color=THIS, opacity=0.25, clip=True),
        layer("line", {"x": x, "y": mean}, color=THIS, clip=True),
        layer("rule", {"y": {"datum": 0}}, strokeDash=[4, 4], color=SOFT),
    ]
    return vega.chart(rows, layers, height=170)


def drift_picture(name: str, column: ColumnDrift) -> Picture:
    """Draw the share of the training rows and of the new rows in each bin of a column."""
    labels = ["training rows", "new rows"]
    bins = [n for n in range(len(column.bins)) if column.train[n] or column.new[n]]
    train, new = (
        [{"bin": column.bins[n], "share": rows[n] / sum(rows), "series": label} for n in bins]
        for label, rows in zip(labels, (column.train, column.new), strict=True)
    )
    share = {
        "x": quantitative("share", "Share of the rows", axis={"format": "~%"}),
        "color": vega.colors(labels, (OTHER, THIS)),
    }
    layers = [
        layer("bar", share, new, opacity=0.6, height=BAR_HEIGHT),
        layer("tick", dict(share), train, thickness=3, height=BAR_HEIGHT),
    ]
    note = f"Distance {column.distance:.3f}; p-value {column.p_value:.3f}."
    return Picture(name, vega.named_chart([*train, *new], "bin", layers), note)
