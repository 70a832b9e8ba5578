import pytest

from ragline.pipeline.text import content_words, one_line, sentence_spans, well_formed


def sentences(text: str) -> list[str]:
    return [text[span.start : span.end] for span in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("It costs 3.5 million. That is much.", ["It costs 3.5 million.", "That is much."]),
        ("Dr. Smith and J. R. Miller, e.g. in Fig. 3, paid approx. No. 7.", None),
        ("See p. 3, i.e. there. Then go.", ["See p. 3, i.e. there.", "Then go."]),
        ("Apply 24 V. Then wait.", ["Apply 24 V.", "Then wait."]),
        ("The unit costs 3.9. Unused ones lapse.", ["The unit costs 3.9.", "Unused ones lapse."]),
        ('He said "Stop." Then he left.', ['He said "Stop."', "Then he left."]),
        ("Version 2.0 beta. runs on.", None),
        ("Wait... and see.", None),
        ("\u7b2c\u4e00\u53e5\u3002\u7b2c\u4e8c\u53e5\uff01", ["\u7b2c\u4e00\u53e5\u3002", "\u7b2c\u4e8c\u53e5\uff01"]),
        ("Das gilt z.B. Montags. Es gilt bzw. Nr. 5 gilt.", ["Das gilt z.B. Montags.", "Es gilt bzw. Nr. 5 gilt."]),
        ("  \n padded. \n ", ["padded."]),
        ("\n...\n---\n", []),
        ("", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text: str, expected: list[str] | None) -> None:
    assert sentences(text) == ([text] if expected is None else expected)


def test_line_ends_of_wrapped_text_are_no_ends_of_sentences() -> None:
    text = (
        "4.6 Parental leave\n"
        "Each parent receives 26 weeks of leave on full pay, whether\n"
        "the child was born or adopted. The leave is available at\n"
        "once.\n"
        "Tell your manager ten weeks before"
    )
    assert [one_line(sentence) for sentence in sentences(text)] == [
        "4.6 Parental leave",
        "Each parent receives 26 weeks of leave on full pay, whether the child was born or adopted.",
        "The leave is available at once.",
        "Tell your manager ten weeks before",
    ]


def test_rows_of_a_table_are_apart() -> None:
    rows = ["Code Meaning", "E-01 Self-test failed Switch off and on", "E-02 Low voltage Use adapter", "E-03 Hot Wait"]
    text = "\n".join(rows)
    assert sentences(text) == rows


def test_list_items_are_apart_and_keep_their_number() -> None:
    text = "You need the following things for the work\n- oil of the right kind\n- a spindle\n1. Put it down\n(b) wait"
    assert len(sentences(text)) == 5
    assert sentences("1. Put the base down. 2. Wait.")[0] == "1. Put the base down."


def test_paragraphs_without_wrapping_are_apart() -> None:
    assert sentences("A heading\n\nfirst paragraph\n\nsecond one") == ["A heading", "first paragraph", "second one"]


def test_one_wide_heading_does_not_break_the_text_below() -> None:
    text = "X" * 200 + "\nEach parent receives 26 weeks of leave on full\npay, whether the child was born or not."
    assert sentences(text)[-1].endswith("on full\npay, whether the child was born or not.")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("calibrated", "calibration"),
        ("weeks", "week"),
        ("policies", "policy"),
        ("measuring", "measurement"),
        ("stopped", "stop"),
        ("employees", "employed"),
        ("Zins", "ZINS"),
        ("claims'", "claim"),
    ],
)
def test_forms_of_a_word_are_alike(one: str, other: str) -> None:
    assert content_words(one) == content_words(other) != frozenset()


def test_words_that_mean_nothing_are_left_out() -> None:
    assert content_words("How is it that you do not have any of these?") == frozenset()


def test_codes_and_numbers_stay_whole() -> None:
    assert content_words("E-06, 7,420 and 3.5 on-call") == {"e-06", "7", "420", "3.5", "cal"}


def test_words_of_other_scripts_are_kept_as_they_are() -> None:
    salary = "\u0437\u0430\u0440\u043f\u043b\u0430\u0442\u0430"
    assert content_words(salary) == {salary}
    assert "\u00e9t\u00e9s" in content_words("les \u00e9t\u00e9s")


def test_lone_surrogates_are_replaced_and_nothing_else() -> None:
    assert well_formed("a\ud800b \U0001f600 \u00e9") == "a?b \U0001f600 \u00e9"
