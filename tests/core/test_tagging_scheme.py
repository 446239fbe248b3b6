"""Values as tags of words and back; where values stand in texts; what a gazetteer says; answers out of tags."""

import numpy as np
import pytest

from sartor.core.claims import build, fields_of
from sartor.core.gazetteer import Gazetteer
from sartor.core.surface import as_number, find, pieces, read, words
from sartor.core.tagbook import TagBook, within
from sartor.core.tagging import Scheme, Span

SCHEMA = {
    "properties": {
        "brand": {"type": "string"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "one": {"type": "array", "items": {"type": "string"}, "maxItems": 1},
        "lines": {
            "type": "array",
            "items": {"properties": {"item": {"type": "string"}, "price": {"type": "number"}}},
        },
    }
}
SCHEME = Scheme.of(SCHEMA)
BRAND, TAGS, ONE, ITEM, PRICE = range(5)


def chances(tags: list[int], sure: float = 0.9) -> np.ndarray:
    found = np.full((len(tags), SCHEME.size), (1 - sure) / (SCHEME.size - 1))
    found[np.arange(len(tags)), tags] = sure
    return found


def book(**more) -> TagBook:
    return TagBook(SCHEMA, tuple(s.name for s in SCHEME.slots), Gazetteer(len(SCHEME.slots)), **more)


def answer(text: str, spans: list[Span], **more) -> object:
    seen = book(**more).see(text)
    told = book(**more).tell(seen, chances(SCHEME.encode(spans, len(seen.spans)).tolist()))
    return build((one.path, one.value) for one in told)


def test_slots_are_the_fields_of_the_schema():
    assert [slot.name for slot in SCHEME.slots] == [name for name, _ in fields_of(SCHEMA)]
    assert [slot.depth for slot in SCHEME.slots] == [0, 0, 0, 1, 1]
    assert [slot.most for slot in SCHEME.slots] == [1, None, 1, 1, 1]
    assert SCHEME.size == 1 + 3 * 2 + 2 * 3


def test_tags_say_what_was_encoded():
    spans = [Span(BRAND, 0, 2), Span(ITEM, 3, 4, 1), Span(PRICE, 4, 5), Span(PRICE, 6, 8, 1), Span(ITEM, 8, 9)]
    tags = SCHEME.encode(spans, 10).tolist()
    found = SCHEME.likeliest(chances(tags))
    assert [(s.slot, s.start, s.end, s.opens) for s in found] == [(s.slot, s.start, s.end, s.opens) for s in spans]
    assert all(0.5 < s.chance < 1 for s in found)


def test_no_value_goes_on_that_has_not_begun():
    tags = [SCHEME.inside(BRAND), SCHEME.inside(BRAND), SCHEME.first[TAGS], SCHEME.inside(BRAND)]
    for span in SCHEME.likeliest(chances(tags, 0.6)):
        assert span.end > span.start
    assert SCHEME.likeliest(np.zeros((0, SCHEME.size))) == []


def test_viterbi_is_the_best_of_all_sequences():
    from itertools import product

    scheme = Scheme.of({"properties": {"a": {"type": "string"}, "b": {"type": "string"}}})
    draw = np.random.default_rng(0)
    for _ in range(30):
        each = draw.dirichlet(np.ones(scheme.size), size=4)
        legal = [
            tags
            for tags in product(range(scheme.size), repeat=4)
            if all(t not in (2, 4) or (k > 0 and tags[k - 1] in (t - 1, t)) for k, t in enumerate(tags))
        ]
        best = max(legal, key=lambda tags: sum(np.log(each[k, t]) for k, t in enumerate(tags)))
        found = scheme.encode(scheme.likeliest(each), 4).tolist()
        assert found == list(best)


def test_a_value_has_the_chance_of_its_words():
    each = chances(SCHEME.encode([Span(BRAND, 1, 3)], 4).tolist(), 0.7)
    (main,) = SCHEME.likeliest(each)
    assert (main.slot, main.start, main.end) == (BRAND, 1, 3)
    assert main.chance == pytest.approx(0.7 * 0.7 * (1 - each[3, SCHEME.inside(BRAND)]))


def test_objects_of_lists_are_told_apart():
    text = "Acme sells pen 1.20 and 7 cap to x , y"
    spans = [Span(BRAND, 0, 1), Span(ITEM, 2, 3, 1), Span(PRICE, 3, 6), Span(PRICE, 7, 8, 1), Span(ITEM, 8, 9)]
    spans += [Span(TAGS, 10, 11), Span(TAGS, 12, 13)]
    assert answer(text, spans) == {
        "brand": "Acme",
        "lines": [{"item": "pen", "price": 1.2}, {"item": "cap", "price": 7}],
        "tags": ["x", "y"],
    }


def test_of_several_values_for_one_place_the_likeliest_is_told():
    seen = book().see("red or blue or green")
    tags = chances(SCHEME.encode([Span(BRAND, 0, 1), Span(BRAND, 2, 3), Span(ONE, 4, 5)], 5).tolist())
    tags[0] = 0.6 * tags[0] + 0.4 * tags[1]
    told = book().tell(seen, tags)
    assert [(t.path, t.value) for t in told] == [("/brand", "blue"), ("/one/0", "green")]
    assert all(seen.text[slice(*t.span)] == t.value for t in told)


def test_a_long_value_is_not_told_as_its_own_beginning():
    seen = book().see("black suede boot")
    each = chances(SCHEME.encode([Span(BRAND, 0, 3)], 3).tolist(), 0.7)
    told = book().tell(seen, each)
    assert [t.value for t in told] == ["black suede boot"]


def test_context_is_no_value_and_rules_fields_out():
    known = {"shoe: ": ("brand",)}
    more = book(context="[^:]+: ", known=known)
    seen = more.see("shoe: red cap")
    assert within("[^:]+: ", "shoe: red cap") == (6, "shoe: ")
    assert seen.allowed.tolist() == [[True] + [False] * (SCHEME.size - 1)] * 2 + [SCHEME.mask([BRAND]).tolist()] * 2
    assert more.see("hat: red").allowed[2:].all()
    assert more.see("no beginning").allowed.all()


def test_a_book_reads_what_it_wrote():
    said = [["red", "pen"], ["red", "cap"]]
    filled = Gazetteer.of(len(SCHEME.slots), said, [[Span(ITEM, 0, 2, 1)], [Span(BRAND, 0, 1)]])
    one = TagBook(SCHEMA, ("brand", "lines[].item"), filled, "a", {"a": ("brand",)})
    again = TagBook.read(one.body())
    assert again == one
    assert (again.gazetteer.features(["red"]) == filled.features(["red"])).all()


def test_gazetteer_leaves_the_row_itself_out():
    said = [["red", "pen"], ["blue", "pen"]]
    spans = [[Span(1, 0, 2)], [Span(1, 0, 2)]]
    filled = Gazetteer.of(2, said, spans)
    half = filled.size // 2
    known = filled.features(said[0])
    assert known[0, half + 1 + 2] == 1.0  # begins a known value of field 1
    assert known[1, half + 2 + 2] == 1.0
    alone = filled.features(said[0], spans[0])
    assert not alone[:, half + 1 :].any()
    assert not alone[0, :half].any()  # nobody else says "red"
    assert alone[1, 2 + 2] == pytest.approx(0.5)  # one other row goes on with "pen"


WRITTEN = {"1,200.50": 1200.5, "1.200,50": 1200.5, "1'200": 1200, "1,200": 1200, "1.200": 1.2, "3,5": 3.5, "EUR 12": 12}
WRITTEN |= {"-4": -4, "1.200.000": 1200000, "1 200": 1200, "2 3": 2, "INV-7": 7, "none": None}


@pytest.mark.parametrize(("text", "number"), WRITTEN.items())
def test_numbers_as_they_are_written(text, number):
    assert as_number(text) == number


def test_values_are_read_under_their_schema():
    assert read("1,200", {"type": "integer"}) == 1200
    assert read("1.5", {"type": "integer"}) is None
    assert read("eur", {"enum": ["EUR", "USD"]}) == "EUR"
    assert read("yen", {"enum": ["EUR", "USD"]}) is None
    assert read("Yes", {"type": "boolean"}) is True
    assert read("x", {"type": ["number", "string"]}) == "x"
    assert read("x", {}) == "x"


def test_values_are_found_where_they_stand():
    text = "2 x pen at 2.00, 2 x cap at 3,000.00"
    truth = {"lines": [{"q": 2, "item": "pen", "price": 2}, {"q": 2, "item": "cap", "price": 3000}]}
    found, missing = find(text, truth)
    spans = words(text)
    at = {one.path: text[spans[one.start][0] : spans[one.end - 1][1]] for one in found}
    assert at["/lines/0/price"] == "2.00"
    assert at["/lines/1/price"] == "3,000.00"
    assert [at["/lines/0/q"], at["/lines/1/q"]] == ["2", "2"]
    assert not missing
    places = {one.path: one.start for one in found}
    assert places["/lines/0/q"] < places["/lines/0/item"] < places["/lines/1/q"] < places["/lines/1/item"]


def test_values_that_do_not_stand_there_are_missing():
    found, missing = find("Adults only", {"age": "Adult", "who": "only", "case": "ADULTS"})
    assert [one.path for one in found] == ["/case", "/who"]
    assert missing == ["/age"]


def test_pieces_belong_to_words():
    text = "pens cost 12.5"
    spans = words(text)
    assert [text[a:b] for a, b in spans] == ["pens", "cost", "12", ".", "5"]
    offsets = [(0, 0), (0, 3), (3, 4), (4, 9), (10, 12), (12, 13), (13, 14), (0, 0)]
    assert pieces(offsets, spans) == [-1, 0, 0, 1, 2, 3, 4, -1]
