import pytest

from workbench.app import feedback, labelling
from workbench.errors import UserError


@pytest.fixture
def item(judged):
    """A pair of an experiment in which somebody else has judged everything."""
    return labelling.next_item(judged)


def better_than(ws, answer):
    """Texts that answer is preferred over, with the strength."""
    return {
        (p.rejected, p.strength)
        for p in ws.experiment.judgements.preferences([ws.annotator])
        if p.chosen == answer.text
    }


def test_an_edit_is_clearly_better_than_what_it_was_made_from(judged, item):
    text = f"{item.first.text} and more"
    answer = feedback.edit(judged, item.first, text, 4.0)
    assert (answer.source, answer.parent_id) == ("edited", item.first.id)
    assert answer.author == judged.annotator
    assert better_than(judged, answer) == {(item.first.text, 2)}
    assert labelling.undo(judged) == "edited an answer"
    assert answer.id not in {a.id for a in judged.experiment.completions.for_prompt(item.prompt.id)}
    assert better_than(judged, answer) == set()
    assert labelling.redo(judged) == "edited an answer"
    assert better_than(judged, answer) == {(item.first.text, 2)}


def test_an_answer_by_hand_is_clearly_better_than_both(judged, item):
    answer = feedback.write(judged, item, "as it should be 应该这样", 9.0)
    assert answer.parent_id is None
    assert better_than(judged, answer) == {(item.first.text, 2), (item.second.text, 2)}


@pytest.mark.parametrize("text", ["", "  \n"])
def test_nothing_is_no_answer(judged, item, text):
    with pytest.raises(UserError, match="empty"):
        feedback.write(judged, item, text, 1.0)
    with pytest.raises(UserError, match="empty"):
        feedback.edit(judged, item.first, text, 1.0)


def test_an_edit_that_changes_nothing_is_refused(judged, item):
    with pytest.raises(UserError, match="same as before"):
        feedback.edit(judged, item.first, f"{item.first.text} ", 1.0)


def test_one_answer_carries_several_kinds_at_once(judged, item):
    prompt, answer = item.prompt.id, item.first
    feedback.rate(judged, answer, 4)
    feedback.comment(judged, prompt, answer.id, "  good start ")
    feedback.comment(judged, prompt, None, "vague question")
    for name in ("facts", "语气", "facts"):
        feedback.tag(judged, prompt, answer.id, name)
    feedback.tag(judged, prompt, None, "weather")
    said = feedback.said(judged, prompt)
    assert said.ratings == {answer.id: 4}
    assert said.comments == {answer.id: "good start", None: "vague question"}
    assert said.tags == {answer.id: ("facts", "语气"), None: ("weather",)}
    feedback.untag(judged, prompt, answer.id, "facts")
    feedback.comment(judged, prompt, None, "")
    said = feedback.said(judged, prompt)
    assert said.tags[answer.id] == ("语气",)
    assert None not in said.comments


def test_what_cannot_be_given_is_refused(judged, item):
    with pytest.raises(UserError, match="1 to 5"):
        feedback.rate(judged, item.first, 6)
    with pytest.raises(UserError, match="must have a name"):
        feedback.tag(judged, item.prompt.id, None, "  ")
    with pytest.raises(UserError, match="cannot be ranked"):
        feedback.rank(judged, item.prompt.id, [[item.first.id]], 1.0)
    with pytest.raises(UserError, match="cannot be ranked"):
        feedback.rank(judged, item.prompt.id, [[item.first.id], [item.first.id]], 1.0)


def test_a_ranking_answers_the_pairs_of_its_prompt(judged, item):
    answers = feedback.rankable(judged, item)
    assert [a.id for a in answers[:2]] == [item.first.id, item.second.id]
    before = labelling.progress(judged).n_left
    feedback.rank(judged, item.prompt.id, [[a.id] for a in answers], 6.0)
    assert labelling.progress(judged).n_left < before
    assert not labelling.is_pending(judged, item.comparison.id)


def test_a_draft_comes_back(judged, item):
    feedback.save_draft(judged, item.comparison.id, {"side": "a", "text": "half"})
    assert feedback.drafts(judged) == [item.comparison.id]
    assert feedback.draft(judged, item.comparison.id) == {"side": "a", "text": "half"}
    feedback.save_draft(judged, item.comparison.id, {})
    assert feedback.drafts(judged) == []
