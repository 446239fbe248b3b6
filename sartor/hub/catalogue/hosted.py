"""Hosted giants: models behind an API; their terms restrict training on their answers."""

from sartor.core.shelf import plugin
from sartor.hub.entry import Entry, Hosted

MODELS = {
    "openai": (
        "gpt-3.5-turbo",
        "gpt-4",
        "gpt-4-turbo",
        "gpt-4o",
        "gpt-4o-mini",
        "gpt-4.1",
        "gpt-4.1-mini",
        "gpt-4.1-nano",
    ),
    "anthropic": ("claude-3-5-haiku-latest", "claude-3-5-sonnet", "claude-sonnet-4-0"),
    "google": ("gemini-2.0-flash", "gemini-2.5-flash", "gemini-2.5-pro"),
    "mistral": ("mistral-small-latest", "mistral-large-latest"),
}


@plugin
def hosted() -> list[Entry]:
    """The family's entries; their prices stand in `economics`, not here."""
    return [
        Entry(
            name=model,
            tier="hosted",
            engine="hosted",
            licence="hosted-model-terms",
            home=Hosted(provider, model),
            facts={"about": f"hosted by {provider}"},
        )
        for provider, models in MODELS.items()
        for model in models
    ]
