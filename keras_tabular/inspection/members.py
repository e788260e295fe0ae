"""How much the scores vary between trainings, estimated from the members of one model."""

import numpy as np

from keras_tabular.inspection.attribution import fold_means
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.scoring.scores import Predictions, score

DRAWS, PICKS = 50, 10  # of folds; and of architectures and steps, for the weights of a draw


def training_deviation(
    members: np.ndarray, test: Predictions, metadata: ModelMetadata
) -> dict[str, float]:
    """Estimate the standard deviation of each score between trainings with other seeds.

    The networks of a fold are like those of a fold in another training. So the folds are drawn with
    replacement, one less than there are. The mean of their predictions then varies as much as
    between trainings: Rao and Wu, "Resampling inference with complex survey data" (1988). The
    ensemble weights differ between trainings, too. With ten seeds for each of three tables, they
    varied as much as the weights of 5 to 13 random picks.

    Args:
        members: Predictions for the first test rows, as `SavedModel.predict_members` returns them.
        test: Predictions of the model for the test rows.
        metadata: How the predictions of the networks are combined.

    Returns:
        The standard deviation by metric; empty if the model was trained without folds.
    """
    if metadata.ensemble is None:
        return {}
    rows = test.select(slice(len(members)))._replace(custom_metrics=())
    means, weights = fold_means(members, metadata.ensemble, test.task.n_outputs)
    rng, n_folds, scores = np.random.default_rng(0), means.shape[1], []
    for _ in range(DRAWS):
        picks = rng.multinomial(PICKS, weights)
        counts = rng.multinomial(n_folds - 1, np.full(n_folds, 1 / n_folds))
        y_pred = np.average(np.average(means, axis=0, weights=picks), axis=0, weights=counts)
        scores.append(score(rows._replace(y_pred=y_pred)))
    keys = set.intersection(*map(set, scores))
    return {key: float(np.std([values[key] for values in scores])) for key in sorted(keys)}
