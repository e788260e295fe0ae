"""A language needs only lines in `words.txt`."""

from keras_tabular.schema_inference import list_words
from keras_tabular.schema_inference.formats import may_mean_missing
from keras_tabular.schema_inference.schema import choose_positive


def test_missing_values_and_classes_are_recognised_by_their_words() -> None:
    assert [word for word in list_words("missing") if not may_mean_missing(word)] == []
    for pair in list_words("classes"):
        negative, positive = pair.split("/")
        assert choose_positive(positive, negative) == (negative, positive, True)
