"""A language needs only lines in `words.txt`."""

import re

from keras_tabular.schema_inference import TEXT, list_words
from keras_tabular.schema_inference.formats import may_mean_missing
from keras_tabular.schema_inference.schema import choose_positive


def test_each_line_has_a_language_a_described_role_and_a_new_word() -> None:
    roles = "|".join(re.findall("(?m)^# ([a-z-]+) {2}", TEXT))
    pattern = re.compile(rf"(-|[a-z]{{2}})\s+((?:{roles})\s+\S+(?: \S+)*)")
    lines = [line for line in TEXT.splitlines() if line and line[0] != "#"]
    assert [line for line in lines if not pattern.fullmatch(line)] == []
    words = [line.split()[1:] for line in lines]
    assert [word for word in words if words.count(word) > 1] == []


def test_missing_values_and_classes_are_recognised_by_their_words() -> None:
    assert [word for word in list_words("missing") if not may_mean_missing(word)] == []
    for pair in list_words("classes"):
        negative, positive = pair.split("/")
        assert choose_positive(positive, negative) == (negative, positive, True)
