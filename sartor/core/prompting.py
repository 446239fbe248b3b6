"""Makes the text that a language model reads: instructions, examples and the input, in the base's own chat template.

The one place where prompts are made: training, serving and exports call it, so that a model is asked in the words that
it was taught with. Pure; it knows no library of models and is handed a tokenizer.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol

from sartor.core.errors import AskError


class Templated(Protocol):
    """A tokenizer that may know a chat template, as those of `transformers` do."""

    chat_template: Any
    """Jinja text; None where the model was never taught to chat."""
    eos_token: Any
    """What ends a text."""

    def apply_chat_template(self, conversation: list[dict[str, str]], **how: Any) -> Any:
        """The conversation as one text."""
        ...


class Turn(NamedTuple):
    """One message."""

    role: Literal["system", "user", "assistant"]
    content: str


Example = tuple[str, str]
"""(input, right answer)"""


def turns(instructions: str, text: str, examples: Sequence[Example] = ()) -> list[Turn]:
    """The conversation that ends with the input: what is sent to a server that has a template of its own."""
    said = [Turn("system", instructions)] if instructions else []
    for asked, answer in examples:
        said += [Turn("user", asked), Turn("assistant", answer)]
    return [*said, Turn("user", text)]


def chat_text(tokenizer: Templated, instructions: str, text: str, examples: Sequence[Example] = ()) -> str:
    """All that the model reads before its answer begins; special tokens stand in it, so add none when it is cut.

    A base without a template gets paragraphs; one whose template knows no system message gets the instructions at the
    head of the first question.

    Raises:
        AskError: the base's template leaves out the input, or fails on every form of it.
    """
    said = turns(instructions, text, examples)
    made = _plain(said) if not tokenizer.chat_template else _templated(tokenizer, said)
    if text.strip() not in made:
        raise AskError(
            "The base's chat template drops the input: what it makes of a question does not hold the question's text. "
            "Use another base, or mend 'chat_template' in its folder.",
            param="base",
            code="template_drops_text",
        )
    return made


def answer_text(tokenizer: Templated, answer: str) -> str:
    """What the model is to write, with the token that ends it."""
    return answer + str(tokenizer.eos_token or "")


def _templated(tokenizer: Templated, said: list[Turn]) -> str:
    try:
        return _applied(tokenizer, said)
    except Exception as error:  # template engines raise errors of their own
        folded = _folded(said)
        if folded == said:
            raise _fails(error) from error
    try:
        return _applied(tokenizer, folded)
    except Exception as error:
        raise _fails(error) from error


def _applied(tokenizer: Templated, said: list[Turn]) -> str:
    messages = [turn._asdict() for turn in said]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _folded(said: list[Turn]) -> list[Turn]:
    """The same with the system message at the head of the first question."""
    if said[0].role != "system":
        return said
    return [Turn("user", f"{said[0].content}\n\n{said[1].content}"), *said[2:]]


def _plain(said: list[Turn]) -> str:
    return "".join(f"{turn.content}\n\n" for turn in said)


def _fails(error: Exception) -> AskError:
    return AskError(
        f"The base's chat template fails: {error}. Use another base, or mend 'chat_template' in its folder.",
        param="base",
        code="template_fails",
    )
