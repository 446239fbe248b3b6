"""JSON Schemas as llama.cpp takes them so that an answer can't leave them: compact, names in canonical JSON's order.

llguidance reads the result inside llama.cpp, which ignores what it can't read: so it is checked here first. Knows no
model and no tokens; `serving.grammar` does the same beside torch.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sartor.core.canonical import canonical
from sartor.core.errors import AskError

COMPACT = {"whitespace_flexible": False, "item_separator": ",", "key_separator": ":"}
"""As canonical JSON is written: a model that was taught nothing of white space can't lose itself in it."""


def strict(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema with the names of every object sorted, nothing allowed that it doesn't name, and no white space.

    Raises:
        AskError: no answer can meet it, or it says what no grammar can; says which.
    """
    found = json.loads(_checked(canonical(dict(schema)).decode()))
    return dict(found)


@lru_cache(maxsize=256)
def _checked(schema: str) -> str:
    from llguidance import LLMatcher

    wanted = _closed(json.loads(schema)) | {"x-guidance": COMPACT}
    text = json.dumps(wanted)
    if wrong := LLMatcher.validate_grammar(LLMatcher.grammar_from_json_schema(text)):
        raise AskError(
            f"No grammar can be made of the JSON Schema of the answer: {' '.join(wrong.split())}. "
            "Use objects, arrays, strings, numbers, booleans and 'enum' that some answer can meet.",
            code="bad_schema",
            param="answer.json_schema",
        )
    return text


def _closed(schema: Any) -> Any:
    """Sorted names; objects whose names are listed allow no others unless they say so."""
    if isinstance(schema, list):
        return [_closed(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _closed(inner) for key, inner in schema.items() if key not in ("properties", "enum", "const")}
    found |= {key: schema[key] for key in ("enum", "const") if key in schema}
    if isinstance(names := schema.get("properties"), dict):
        found["properties"] = {name: _closed(names[name]) for name in sorted(names)}
        found.setdefault("additionalProperties", False)
    return found
