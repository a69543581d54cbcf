"""The classes of ILSVRC-2012."""

import pytest

from predict_diff.errors import ConfigurationError
from reproduce.labels import Label, labels


def test_there_are_a_thousand_in_the_order_of_their_synsets():
    classes = labels()
    assert len(classes) == 1000
    assert [label.index for label in classes] == list(range(1000))
    synsets = [label.synset for label in classes]
    assert synsets == sorted(set(synsets))


# From the published list of the challenge's classes.
@pytest.mark.parametrize(
    ("index", "synset", "short"),
    [
        (0, "n01440764", "tench"),
        (281, "n02123045", "tabby"),
        (282, "n02123159", "tiger cat"),
        (285, "n02124075", "Egyptian cat"),
        (386, "n02504458", "African elephant"),
        (636, "n03709823", "mailbag"),
        (967, "n07920052", "espresso"),
        (999, "n15075141", "toilet tissue"),
    ],
)
def test_known_classes_stand_where_the_networks_have_them(index, synset, short):
    label = labels()[index]
    assert (label.synset, label.short) == (synset, short)


def test_a_class_has_all_words_of_its_synset():
    assert labels()[0] == Label(0, "n01440764", "tench, Tinca tinca")
    assert labels()[999].words == "toilet tissue, toilet paper, bathroom tissue"


def test_first_words_are_not_unique_but_all_words_and_synset_are():
    classes = labels()
    assert classes[134].short == classes[517].short == "crane"
    assert len({(label.synset, label.words) for label in classes}) == 1000


def test_another_network_may_have_other_classes(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("n00000001 one, eins\r\nn00000002 zwei, zwö\n", encoding="utf-8")
    assert [label.words for label in labels(path, count=2)] == ["one, eins", "zwei, zwö"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "expected 2 lines, one a class, found 0"),
        (b"n00000001 one\n", "expected 2 lines, one a class, found 1"),
        (b"n00000001 one\nn00000002 two\nn00000003 three\n", "expected 2 lines, one a class, found 3"),
        (b"n00000001 one\n\n", "line 2: expected a synset id and words, .*, found ''"),
        (b"n00000001 one\ntwo\n", "line 2: expected a synset id and words, .*, found 'two'"),
        (b"n0001 one\nn00000002 two\n", "line 1: expected a synset id and words"),
        (b"n00000001 \nn00000002 two\n", "line 1: expected a synset id and words"),
        (b"n00000001 \xff\nn00000002 two\n", "expected text in UTF-8"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, content, message):
    path = tmp_path / "classes.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as caught:
        labels(path, count=2)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.txt: expected a list of classes, found none"):
        labels(tmp_path / "nowhere.txt")
