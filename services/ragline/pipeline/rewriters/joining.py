"""Follow-up questions without a language model: the question together with what was asked before."""

from ragline.common.questions import Question
from ragline.pipeline.protocols import Rewriting
from ragline.pipeline.text import one_line

__all__ = ["JoiningRewriter"]

_TURNS = 2
"""Earlier questions that are added: a follow-up mostly leans on the last one, and sometimes that one on another."""

_TURN_CHARS = 300
"""Of each of them: with a question of a few words all stays within the 256 tokens that all-MiniLM-L6-v2 reads."""


class JoiningRewriter:
    """A `Rewriter` that puts the user's last turns behind the question.

    Retrieval and extracts go by the words and the meaning of the whole, so "And in Spain?" finds what the question
    before it was about. The question stands first: a model that reads only the beginning reads it.
    """

    def run(self, question: Question) -> Rewriting:
        """The question and at most two earlier ones, the newest first, on one line each."""
        asked = [turn.text for turn in question.history if turn.role == "user"]
        earlier = [one_line(text)[:_TURN_CHARS] for text in reversed(asked[-_TURNS:])]
        return Rewriting(text="\n".join([question.text, *filter(None, earlier)]))
