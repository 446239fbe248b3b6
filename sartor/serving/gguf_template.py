"""The chat template that a GGUF file carries, filled as the libraries of models fill theirs.

Stands where `core.prompting` expects a tokenizer, so that a model is asked in the words that it was taught with,
whichever engine asks it. A template is a stranger's text: it is filled in a sandbox. Knows no llama.cpp.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError
from sartor.core.gguf_header import Header, read_header

TOKENS = "tokenizer.ggml.tokens"


class GgufTemplate:
    """A template and the tokens that it may name."""

    def __init__(self, chat_template: str | None, eos_token: str, bos_token: str) -> None:
        self.chat_template: Any = chat_template
        self.eos_token: Any = eos_token
        self.bos_token = bos_token

    @classmethod
    def of(cls, file: Path) -> "GgufTemplate":
        """That of a GGUF file.

        Raises:
            AskError: it is no GGUF file.
        """
        header = read_header(file, (TOKENS,))
        template = header.facts.get("tokenizer.chat_template")
        return cls(template, _token(header, "eos_token_id"), _token(header, "bos_token_id"))

    def apply_chat_template(self, conversation: list[dict[str, str]], **how: Any) -> str:
        """The conversation as one text; `tokenize` is not heeded: there is no tokenizer here."""
        settings = {name: value for name, value in how.items() if name != "tokenize"}
        return str(
            self._compiled.render(
                messages=conversation, bos_token=self.bos_token, eos_token=self.eos_token, tools=None, **settings
            )
        )

    @cached_property
    def _compiled(self) -> Any:
        from jinja2.ext import loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        place = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        place.filters["tojson"] = _plain_json
        place.globals["raise_exception"] = _refuse
        return place.from_string(self.chat_template)


def _token(header: Header, name: str) -> str:
    tokens, place = header.facts.get(TOKENS), header.facts.get(f"tokenizer.ggml.{name}")
    if not isinstance(tokens, list) or not isinstance(place, int) or place >= len(tokens):
        return ""
    return str(tokens[place])


def _plain_json(value: Any, **how: Any) -> str:
    """Jinja's own filter escapes for web pages, which a model never saw."""
    known: Mapping[str, Any] = {"ensure_ascii": False, **how}
    return json.dumps(value, **known)


def _refuse(message: str) -> None:
    raise AskError(f"The chat template refuses the conversation: {message}", code="template_refuses")
