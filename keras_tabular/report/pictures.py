"""Pictures of the scores and predictions of a run, and of its base, from the files in metrics/."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, NamedTuple

from keras_tabular.config.task import Task
from keras_tabular.core.files import md5_hash
from keras_tabular.evaluation.records import MODEL
from keras_tabular.model.drift import ColumnDrift
from keras_tabular.report import vega
from keras_tabular.report.vega import SOFT, THIS, Rows, Spec, layer, quantitative
from keras_tabular.runs.comparison import Comparison

THIS_MODEL = "this model"  # next to the names of baselines
MAX_CLASSES_WITH_NUMBERS = 8
MAX_LETTERS_IN_ROW = 38  # of the class names above and beside a confusion matrix
SHARE = {"domain": [0, 1]}


class Picture(NamedTuple):
    """A chart with its title and a note below the title."""

    title: str
    spec: Spec
    note: str = ""


def score_interval_pictures(comparison: Comparison, task: Task) -> Iterator[Picture]:
    """Draw the main metrics of the model and of the baselines with their 95% intervals.

    The scores are those on the test rows and, if there are folds, in cross-validation.
    Scores without an interval are left out.
    """
    for key in comparison.evaluation.main_metrics[:2]:
        label, greater_is_better, _ = comparison.evaluation.metric(key)
        rows = []
        for row_set, place in (
            ("test", "test rows"),
            ("cross_validation", "cross-validation"),
        ):
            for name in (MODEL, *comparison.evaluation.baselines(row_set)):
                score = comparison.evaluation.score(row_set, key, name)
                if score and score.interval:
                    low, high = score.interval
                    row = {
                        "name": task.baselines.get(name, THIS_MODEL),
                        "series": place,
                    }
                    rows.append(row | {"value": score.value, "low": low, "high": high})
        rows.sort(key=lambda row: row["name"] != THIS_MODEL)
        if rows:
            title = label if greater_is_better else f"{label} (lower is better)"
            yield Picture(label, draw_score_intervals(rows, title))


def draw_score_intervals(rows: Rows, title: str) -> Spec:
    """Draw the score of each `name` on each set of rows (`series`) with its interval."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    places = list(dict.fromkeys(row["series"] for row in rows))
    is_first = {"test": f"datum.name === {json.dumps(names[0])}", "value": THIS}
    position = {
        "y": vega.nominal("name", names, axis={"labelFontSize": 13}),
        "yOffset": {"field": "series", "type": "nominal", "sort": places},
        "color": {"condition": is_first, "value": SOFT},
    }
    grey = {"symbolFillColor": SOFT, "symbolStrokeColor": SOFT, "columns": len(places)}
    shape = vega.series(places, ["circle", "diamond"], grey)
    scale = {"zero": False, "nice": True}
    low, value = (quantitative(field, title, scale=scale) for field in ("low", "value"))
    ends = {"x": low, "x2": {"field": "high"}}
    point = {"x": value, "shape": shape}
    layers = [
        layer("rule", ends | position, strokeWidth=2),
        layer("point", point | position, size=70, filled=True, opacity=1),
    ]
    return vega.chart(rows, layers, height=len(names) * (18 * len(places) + 8))


def repeat_pictures(comparison: Comparison, task: Task) -> Iterator[Picture]:
    """Draw the main metrics of the model and of the baselines on all splits, if repeated."""
    repeats = comparison.files["repeats"]
    scores = comparison.run.read(comparison.run.metrics / "scores.json")
    is_stale = md5_hash(scores.encode()) != repeats.get("run")
    for measure in repeats.get("measures", []):
        rows = []
        for name, each in sorted(
            measure["models"].items(),
            key=lambda model: model[0] != MODEL,
        ):
            values = [(value, "repeats") for value in each["values"]]
            for value, series in [*values, (each["present"], "this run")]:
                row = {"name": task.baselines.get(name, THIS_MODEL), "series": series}
                rows.append(row | {"value": value, "low": value, "high": value})
        note = (
            "These are repeats of a run with other parameters, rows or code. Run `make"
            " repeat`."
        )
        note = note if is_stale else measure["conclusion"]
        spec = draw_score_intervals(rows, measure["label"])
        yield Picture(f"How much is luck: {measure['label']}", spec, note)


def prediction_pictures(comparison: Comparison) -> list[Picture]:
    """Draw the predictions for the test rows, from each file of plot data that has rows."""
    draw = {
        "confusion": draw_confusion,
        "roc": draw_roc,
        "calibration": draw_calibration,
        "threshold": draw_threshold,
        "values": draw_values,
    }
    return [draw[name](comparison) for name in draw if comparison.run.read_points(name)]


def draw_confusion(comparison: Comparison) -> Picture:
    """Draw the number of rows with each true and predicted class, and its share of the true class.

    Many classes have no numbers in their cells.
    """
    rows = comparison.run.read_points("confusion")
    names = list(dict.fromkeys(row["true class"] for row in rows))
    are_wide = (max(len(names), 3) + 1) * max(map(len, names)) > MAX_LETTERS_IN_ROW
    labels = {"labelLimit": 190, "labelOverlap": len(names) > MAX_CLASSES_WITH_NUMBERS}
    top = {"orient": "top", "labelAngle": -90 if are_wide else 0}
    position = {
        "x": (
            vega.nominal("predicted class", names, top | labels)
            | {
                "title": "Predicted class",
            }
        ),
        "y": vega.nominal("true class", names, labels) | {"title": "True class"},
    }
    shades = {"domain": [0, 1], "range": ["#0072b20d", "#0072b2cc"]}
    color = {"color": quantitative("share", scale=shades, legend=None)}
    layers = [layer("rect", position | color, stroke=vega.LINE, strokeWidth=1)]
    if len(names) <= MAX_CLASSES_WITH_NUMBERS:
        for row in rows:
            row["label"] = [f"{row['rows']:,.0f}", f"{row['share']:.0%}"]
        layers.append(
            layer("text", position | {"text": {"field": "label"}}, dy=-7, fontSize=11),
        )
    height = min(max(len(names) * 52, 150), 420)
    return Picture("Confusion matrix", vega.chart(rows, layers, height))


def draw_roc(comparison: Comparison) -> Picture:
    """Draw the ROC curve, and that of a random guess."""
    guess = vega.dashed_line([{"x": 0, "y": 0}, {"x": 1, "y": 1}])
    x = quantitative("false positive rate", "False positive rate", scale=SHARE)
    y = quantitative("true positive rate", "True positive rate (recall)", scale=SHARE)
    rows, names = points_of_runs(comparison, "roc")
    return Picture("ROC curve", draw_lines(rows, x, y, names, [guess]))


def draw_calibration(comparison: Comparison) -> Picture:
    """Draw the share of a class by its predicted probability, with 95% intervals."""
    rows, names = points_of_runs(comparison, "calibration")
    run_rows = [row for row in rows if row["series"] == names[0]]
    x = quantitative("probability", "Predicted probability", scale=SHARE)
    y = quantitative("actual", "Share of the rows in the class", scale=SHARE)
    ends = {"x": dict(x), "y": quantitative("low"), "y2": {"field": "high"}}
    line = {"x": x, "y": y, "color": vega.colors(names)}
    layers = [
        layer("line", line, point={"filled": True, "size": 45}),
        layer("rule", ends, run_rows, strokeWidth=1.5, color=THIS),
        vega.dashed_line([{"x": 0, "y": 0}, {"x": 1, "y": 1}]),
    ]
    return Picture("Calibration", vega.chart(rows, layers))


def draw_threshold(comparison: Comparison) -> Picture:
    """Draw the scores that depend on the threshold, and the threshold of the model."""
    scores = comparison.run.read_points("threshold")
    threshold = comparison.evaluation.threshold or 0.0  # None only without this plot
    has_costs = scores[0]["cost"] is not None
    cost, cost_label = (
        ("cost", "cost per row") if has_costs else ("wrong", "error rate")
    )
    labels = {
        "recall": "recall",
        "precision": "precision",
        "f1": "F1",
        cost: cost_label,
    }
    rows = [
        {"threshold": row["threshold"], "series": label, "value": row[key]}
        for key, label in labels.items()
        for row in scores
    ]
    names = list(labels.values())
    dashes = [[1, 0], [6, 3], [2, 2], [8, 3, 2, 3]]
    encoding = {
        "x": quantitative("threshold", "Threshold", scale=SHARE),
        "y": quantitative("value", scale={"domainMin": 0}),
        "color": vega.colors(names, [THIS, vega.OTHER, SOFT, "currentColor"]),
        "strokeDash": vega.series(names, dashes, {"symbolSize": 500}),
    }
    layers = [
        layer("line", encoding, clip=True),
        vega.vertical_line(threshold, strokeWidth=1.5),
    ]
    nearest = min(scores, key=lambda row: abs(row["threshold"] - threshold))
    note = f"At the threshold {threshold:.3g}, the {cost_label} is {nearest[cost]:.3g}."
    return Picture("Threshold", vega.chart(rows, layers), note)


def draw_values(comparison: Comparison) -> Picture:
    """Draw a point for each row of a regression, and the line of perfect predictions."""
    rows = comparison.run.read_points("values")
    not_from_zero = {"scale": {"zero": False}}
    x = quantitative("true value", f"True {comparison.run.target}") | not_from_zero
    y = quantitative("predicted value", "Predicted") | not_from_zero
    points = layer(
        "point",
        {"x": x, "y": y},
        filled=True,
        size=18,
        opacity=0.45,
        color=THIS,
    )
    values = [row["true value"] for row in rows]
    diagonal = vega.dashed_line(
        [{"x": end, "y": end} for end in (min(values), max(values))],
    )
    return Picture("Predicted and true values", vega.chart(rows, [points, diagonal]))


def learning_curve(comparison: Comparison) -> Picture | None:
    """Draw the mean loss of the members by epoch, and the epoch whose weights are kept."""
    rows = [
        {
            "epoch": point["epoch"],
            "value": point[key],
            "series": label,
            "n": point["epoch"],
        }
        for key, label in (("train", "training rows"), ("validation", "held-out rows"))
        for point in comparison.run.read_points("loss", "curves")
        if point[key] is not None
    ]
    if not rows:
        return None
    architecture = comparison.files["networks"].get("curves", "")
    networks = comparison.files["networks"].get("networks", {})
    epochs = networks.get(architecture, {}).get("epochs")
    title = "Epoch"
    layers = []
    if epochs:
        title = f"Epoch (weights kept from {median(epochs):.4g})"
        layers = [vega.vertical_line(median(epochs), strokeDash=[4, 4])]
    names = list(dict.fromkeys(row["series"] for row in rows))
    x = quantitative("epoch", title)
    y = quantitative("value", "Loss", scale={"zero": False})
    name = f"Loss{f' of {architecture}' if architecture else ''} by epoch"
    return Picture(name, draw_lines(rows, x, y, names, layers))


def draw_lines(
    rows: Rows,
    x: Spec,
    y: Spec,
    names: Sequence[str],
    layers: list[Spec],
) -> Spec:
    """Draw a line for each of the names below other layers; the second line is thinner."""
    encoding = {
        "x": x,
        "y": y,
        "color": vega.colors(names),
        "strokeWidth": vega.series(names, [2.5, 1.5]),
        "order": {"field": "n", "type": "quantitative"},
    }
    return vega.chart(rows, [layer("line", encoding, clip=True), *layers])


def points_of_runs(comparison: Comparison, name: str) -> tuple[Rows, list[str]]:
    """Read a file of plot data of both runs.

    Returns:
        The points, each with the label of its run in `series`, and the labels of the
        runs that have the file. Both are empty if this run does not have it.
    """
    rows = Rows()
    labels = list[str]()
    for run in filter(None, (comparison.run, comparison.base)):
        run_rows = run.read_points(name)
        if not run_rows:
            break
        labels.append(run.label)
        # The points of this run come last, so that they are drawn above the others.
        rows = [
            row | {"series": run.label, "n": n} for n, row in enumerate(run_rows)
        ] + rows
    return rows, labels


def importance_picture(comparison: Comparison) -> Picture | None:
    """Draw the permutation importance of the columns, the most important one first."""
    rows, labels = points_of_runs(comparison, "importance")
    if not rows:
        return None
    run_rows = [row for row in rows if row["series"] == labels[0]]
    columns = {row["column"] for row in run_rows}
    base_rows = [
        row for row in rows if row["series"] != labels[0] and row["column"] in columns
    ]
    increase = {
        "x": quantitative("rise", "Increase of the loss"),
        "color": vega.colors(labels),
    }
    ends = {"x": quantitative("low"), "x2": {"field": "high"}}
    layers = [
        layer("bar", increase, run_rows, opacity=0.6, height=vega.BAR_HEIGHT),
        layer("rule", ends, run_rows, strokeWidth=2, color=THIS),
        layer("tick", dict(increase), base_rows, thickness=3, height=vega.BAR_HEIGHT),
    ]
    return Picture(
        "Importance of the columns",
        vega.named_chart([*run_rows, *base_rows], "column", layers),
        "Permutation importance: the mean increase of the loss when the column is"
        " shuffled ten times. The line from the minimum to the maximum shows the noise"
        " of shuffling, not how the importance varies between samples of rows."
        " Correlated columns share their importance.",
    )


def effect_pictures(comparison: Comparison) -> Iterator[Picture]:
    """Draw the effects of the most important columns on the prediction, on one scale."""
    effects = comparison.files["effects"].get("columns", [])
    ends = [
        end
        for effect in effects
        for key in ("low", "high", "effect")
        for end in effect[key]
    ]
    limits = (min(ends, default=0), max(ends, default=0))
    for effect in effects:
        quantity = target = comparison.run.target
        if "class" in effect:
            quantity = f"the probability that {target} is {effect['class']}"
        yield Picture(
            effect["column"],
            draw_effect(effect, limits),
            f"Change of {quantity}.",
        )


def draw_effect(effect: Mapping[str, Any], limits: tuple[float, float]) -> Spec:
    """Draw an effect of effects.json, with the range of the members of the ensemble."""
    values = effect["values"]
    is_datetime = effect["kind"] == "datetime"
    if is_datetime:
        values = [datetime.fromtimestamp(value, UTC).isoformat() for value in values]
    points = zip(values, effect["effect"], effect["low"], effect["high"], strict=True)
    rows = [
        dict(zip(("value", "effect", "low", "high"), point, strict=True))
        for point in points
    ]
    scale = {"domain": list(limits), "nice": True}
    mean, low = (quantitative(field, scale=scale) for field in ("effect", "low"))
    high = {"field": "high"}
    if effect["kind"] == "category":
        layers = [
            layer("bar", {"x": mean}, color=THIS, opacity=0.6, height=vega.BAR_HEIGHT),
            layer("rule", {"x": low, "x2": high}, color=THIS, strokeWidth=2),
        ]
        return vega.named_chart(rows, "value", layers)
    axis = {"type": "temporal"} if is_datetime else {"scale": {"zero": False}}
    x = quantitative("value", effect["column"]) | axis
    layers = [
        layer(
            "area",
            {"x": x, "y": low, "y2": high},
            color=THIS,
            opacity=0.25,
            clip=True,
        ),
        layer("line", {"x": x, "y": mean}, color=THIS, clip=True),
        layer("rule", {"y": {"datum": 0}}, strokeDash=[4, 4], color=SOFT),
    ]
    return vega.chart(rows, layers, height=170)


def drift_picture(name: str, column: ColumnDrift) -> Picture:
    """Draw the share of the training rows and of the new rows in each bin of a column."""
    labels = ["training rows", "new rows"]
    bins = [n for n in range(len(column.bins)) if column.train[n] or column.new[n]]
    train, new = (
        [
            {"bin": column.bins[n], "share": rows[n] / sum(rows), "series": label}
            for n in bins
        ]
        for label, rows in zip(labels, (column.train, column.new), strict=True)
    )
    share = {
        "x": quantitative("share", "Share of the rows", axis={"format": "~%"}),
        "color": vega.colors(labels, (vega.OTHER, THIS)),
    }
    layers = [
        layer("bar", share, new, opacity=0.6, height=vega.BAR_HEIGHT),
        layer("tick", dict(share), train, thickness=3, height=vega.BAR_HEIGHT),
    ]
    note = f"Distance {column.distance:.3f}; p-value {column.p_value:.3f}."
    return Picture(name, vega.named_chart([*train, *new], "bin", layers), note)
