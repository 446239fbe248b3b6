"""A LiteLLM proxy configuration, as upstreams and routes. Pure: nothing is declared here, no secret is read.

What has no counterpart is left and said so; a key that stands in the file itself is refused, since it would have to be
written down again.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from sartor.core.errors import AskError
from sartor.core.route import Allowance, Route, Secret, Target, Timing, TokenPrice, Upstream
from sartor.core.shelf import explain
from sartor.core.task import NAME

FROM_ENVIRONMENT = "os.environ/"
NO_KEY = frozenset({"", "none", "empty", "null"})
"""Keys of servers that take none."""


@dataclass(frozen=True)
class Provider:
    """Whom a prefix of a model's name means."""

    protocol: str = "openai"
    base_url: str = ""
    """'' where only the file can know it."""
    env: str = ""
    """Variable with its key, where the file names none."""
    ending: str = ""
    """What an address in the file may lack at its end."""


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(base_url="https://api.openai.com/v1", env="OPENAI_API_KEY"),
    "text-completion-openai": Provider(base_url="https://api.openai.com/v1", env="OPENAI_API_KEY"),
    "anthropic": Provider("anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY", "/v1"),
    "gemini": Provider("google", "https://generativelanguage.googleapis.com/v1beta", "GEMINI_API_KEY", "/v1beta"),
    "groq": Provider(base_url="https://api.groq.com/openai/v1", env="GROQ_API_KEY"),
    "mistral": Provider(base_url="https://api.mistral.ai/v1", env="MISTRAL_API_KEY"),
    "deepseek": Provider(base_url="https://api.deepseek.com/v1", env="DEEPSEEK_API_KEY"),
    "together_ai": Provider(base_url="https://api.together.xyz/v1", env="TOGETHERAI_API_KEY"),
    "openrouter": Provider(base_url="https://openrouter.ai/api/v1", env="OPENROUTER_API_KEY"),
    "fireworks_ai": Provider(base_url="https://api.fireworks.ai/inference/v1", env="FIREWORKS_AI_API_KEY"),
    "xai": Provider(base_url="https://api.x.ai/v1", env="XAI_API_KEY"),
    "ollama": Provider(base_url="http://localhost:11434/v1", ending="/v1"),
    "ollama_chat": Provider(base_url="http://localhost:11434/v1", ending="/v1"),
    "hosted_vllm": Provider(),
    "lm_studio": Provider(),
    "litellm_proxy": Provider(),
    "openai_like": Provider(),
    "custom_openai": Provider(),
}

USED_PARAMS = frozenset(
    {"model", "api_base", "base_url", "api_key", "rpm", "tpm", "weight", "timeout", "stream_timeout", "max_retries"}
    | {"input_cost_per_token", "output_cost_per_token", "custom_llm_provider", "max_parallel_requests"}
)
USED_ROUTER = frozenset({"fallbacks", "default_fallbacks", "model_group_alias", "num_retries", "timeout"})


@dataclass
class Imported:
    """What a file gave."""

    upstreams: list[Upstream] = field(default_factory=list)
    routes: list[Route] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    """In plain words, one line each."""
    left: list[str] = field(default_factory=list)
    """What was not taken, and why."""


@dataclass(frozen=True)
class _Deployment:
    upstream: Upstream
    weight: float
    limits: tuple[float | None, float | None]
    """Requests and tokens a minute."""


def read_litellm(config: Mapping[str, Any], environ: Mapping[str, str]) -> Imported:
    """The upstreams and routes of a configuration.

    Args:
        environ: where addresses written as os.environ/NAME are found; keys are not looked up.

    Raises:
        AskError: it has no list of models, a key stands in it, or an entry can't be read.
    """
    entries = config.get("model_list")
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise AskError("The configuration has no 'model_list', so there is nothing to import.", code="no_model_list")
    found = Imported()
    router = {**(config.get("litellm_settings") or {}), **(config.get("router_settings") or {})}
    groups: dict[str, list[_Deployment]] = {}
    for place, entry in enumerate(entries):
        name = _name(str(entry.get("model_name", "")), found)
        where = f"model_list[{place}] ('{entry.get('model_name')}')"
        made = _deployment(entry, where, router, environ, found) if name else None
        if made is not None:
            groups.setdefault(name, []).append(_named(made, name, found))
    policies = {name: _policy(deployments) for name, deployments in groups.items()}
    fallbacks = _fallbacks(router, policies, found)
    for name, deployments in groups.items():
        found.routes.append(Route(name=name, policy=fallbacks.get(name, policies[name]), limits=_limits(deployments)))
        found.taken.append(f"route '{name}': {_words(len(deployments), name in fallbacks)}")
    _aliases(router, {route.name: route for route in found.routes}, found)
    _say_left(config, router, found)
    return found


def _name(given: str, found: Imported) -> str:
    """The name as names are written here; '' for one that stands for many."""
    if "*" in given or not given:
        found.left.append(f"'{given}': a name with '*' stands for many; declare those that are asked for")
        return ""
    name = re.sub(r"[^a-z0-9._-]+", "-", given.lower()).strip("-._")[:128]
    if not NAME.fullmatch(name):
        raise AskError(f"The model name '{given[:100]}' can't be written as a name here.", code="bad_name")
    if name != given:
        found.taken.append(f"'{given}' is called '{name}' here")
    return name


def _deployment(
    entry: Mapping[str, Any], where: str, router: Mapping[str, Any], environ: Mapping[str, str], found: Imported
) -> _Deployment | None:
    params = entry.get("litellm_params")
    if not isinstance(params, dict) or not isinstance(params.get("model"), str):
        raise AskError(f"{where} has no litellm_params with a 'model'.", code="bad_entry")
    prefix, provider, model = _provider(params)
    if provider is None:
        found.left.append(f"{where}: '{prefix}' is not reached by a plain HTTP protocol that is spoken here")
        return None
    url = _address(params, provider, where, environ)
    unused = sorted(set(params) - USED_PARAMS)
    if unused:
        found.left.append(f"{where}: {', '.join(unused)}")
    settings: dict[str, Any] = {
        "name": prefix,
        "base_url": url,
        "protocol": provider.protocol,
        "model": model,
        "key": _key(params, provider, where),
        "allow_private": _is_private(url),
        "exposed": False,
        "price": _price(params),
        "timing": _timing(params, router),
    }
    if params.get("max_parallel_requests"):
        settings["concurrency"] = params["max_parallel_requests"]
    retries = params.get("max_retries", router.get("num_retries"))
    if retries is not None:
        settings["retries"] = min(int(retries), 10)
    try:
        upstream = Upstream.model_validate(settings)
    except ValidationError as error:
        raise AskError(f"{where} does not fit: {explain(error, Upstream)}.", code="bad_entry") from error
    weight = float(params.get("weight") or params.get("rpm") or 1.0)
    return _Deployment(upstream, weight, (params.get("rpm"), params.get("tpm")))


def _provider(params: Mapping[str, Any]) -> tuple[str, Provider | None, str]:
    """The provider's name, what is known of it, and its name of the model."""
    model: str = params["model"]
    prefix, slash, rest = model.partition("/")
    if given := params.get("custom_llm_provider"):
        return str(given), PROVIDERS.get(str(given)), model.removeprefix(f"{given}/")
    if slash:
        return prefix, PROVIDERS.get(prefix), rest
    if model.startswith("claude"):
        return "anthropic", PROVIDERS["anthropic"], model
    return "openai", PROVIDERS["openai"], model


def _address(params: Mapping[str, Any], provider: Provider, where: str, environ: Mapping[str, str]) -> str:
    given = str(params.get("api_base") or params.get("base_url") or "")
    if given.startswith(FROM_ENVIRONMENT):
        name = given.removeprefix(FROM_ENVIRONMENT)
        given = environ.get(name, "")
        if not given:
            raise AskError(f"{where}: its address is in the variable {name}, which is not set.", code="no_address")
    if not given and not provider.base_url:
        raise AskError(f"{where} has no 'api_base', and its provider has no fixed address.", code="no_address")
    url = (given or provider.base_url).rstrip("/")
    return url if url.endswith(provider.ending) else url + provider.ending


def _key(params: Mapping[str, Any], provider: Provider, where: str) -> Secret | None:
    given = params.get("api_key")
    if given is None:
        return Secret(env=provider.env) if provider.env and not params.get("api_base") else None
    text = str(given)
    if text.startswith(FROM_ENVIRONMENT):
        return Secret(env=text.removeprefix(FROM_ENVIRONMENT))
    if text.lower() in NO_KEY:
        return None
    raise AskError(
        f"{where} holds its key in plain text. Put the key into an environment variable of the server and write "
        f"'api_key: {FROM_ENVIRONMENT}NAME' instead; then change the key at the provider, since it stood in a file.",
        code="literal_key",
        param="api_key",
    )


def _is_private(url: str) -> bool:
    """Whether the file itself sends its requests into the own network."""
    host = urlsplit(url).hostname or ""
    inside = ("127.", "10.", "192.168.", "172.")
    return "." not in host or host.startswith(inside) or host.endswith((".internal", ".local", ".svc", ".lan"))


def _price(params: Mapping[str, Any]) -> TokenPrice | None:
    asked, said = params.get("input_cost_per_token"), params.get("output_cost_per_token")
    if asked is None and said is None:
        return None
    million = [round(float(cost or 0) * 1e6, 9) for cost in (asked, said)]
    return TokenPrice(input_million=million[0], output_million=million[1], currency="USD", source="LiteLLM's file")


def _timing(params: Mapping[str, Any], router: Mapping[str, Any]) -> Timing:
    total, first = params.get("timeout") or router.get("timeout"), params.get("stream_timeout")
    given = {name: float(value) for name, value in (("total", total), ("first_token", first)) if value}
    return Timing(**given)


def _named(made: _Deployment, name: str, found: Imported) -> _Deployment:
    """The deployment under a name of its own."""
    wanted = f"{name}-{made.upstream.name.replace('_', '-')}"[:120]
    names = {upstream.name for upstream in found.upstreams}
    number = next(n for n in range(1, len(names) + 2) if (wanted if n == 1 else f"{wanted}-{n}") not in names)
    upstream = made.upstream.model_copy(update={"name": wanted if number == 1 else f"{wanted}-{number}"})
    found.upstreams.append(upstream)
    where = f"{upstream.base_url}, model '{upstream.model}', protocol {upstream.protocol}"
    key = f"key from {upstream.key.env}" if upstream.key else "no key"
    private = ", a private address" if upstream.allow_private else ""
    found.taken.append(f"upstream '{upstream.name}': {where}, {key}{private}")
    return _Deployment(upstream, made.weight, made.limits)


def _policy(deployments: Sequence[_Deployment]) -> Target:
    if len(deployments) == 1:
        return {"use": "direct", "to": deployments[0].upstream.name}
    total = sum(d.weight for d in deployments)
    shares = [round(d.weight / total, 6) for d in deployments]
    shares[-1] = round(1 - sum(shares[:-1]), 6)
    names = [d.upstream.name for d in deployments]
    arms = [{"name": name, "to": name, "share": share} for name, share in zip(names, shares, strict=True)]
    return {"use": "split", "arms": arms}


def _limits(deployments: Sequence[_Deployment]) -> Allowance:
    """The sum over the deployments, where each has a limit."""
    columns = list(zip(*(d.limits for d in deployments), strict=True))
    requests, tokens = (sum(map(float, filter(None, c))) if all(c) else None for c in columns)
    return Allowance(requests_per_minute=requests, tokens_per_minute=tokens)


def _fallbacks(router: Mapping[str, Any], policies: Mapping[str, Target], found: Imported) -> dict[str, Target]:
    """The policies of names that have others behind them."""
    wanted = {name: list(router.get("default_fallbacks") or ()) for name in policies}
    for entry in router.get("fallbacks") or ():
        for name, others in entry.items():
            wanted[str(name).lower()] = list(others)
    made: dict[str, Target] = {}
    for name, others in wanted.items():
        behind = [other for other in (str(o).lower() for o in others) if other in policies and other != name]
        if len(behind) < len([o for o in others if str(o).lower() != name]) or name not in policies:
            found.left.append(f"fallbacks of '{name}': not every name in them is taken over")
        if behind and name in policies:
            made[name] = {"use": "fallback", "to": [policies[name], *(policies[other] for other in behind)]}
    return made


def _aliases(router: Mapping[str, Any], routes: Mapping[str, Route], found: Imported) -> None:
    for alias, target in (router.get("model_group_alias") or {}).items():
        meant = str(target["model"] if isinstance(target, dict) else target).lower()
        name = _name(str(alias), found)
        if meant not in routes or not name or name in routes:
            found.left.append(f"alias '{alias}': '{meant}' is not taken over, or the name is used already")
            continue
        found.routes.append(routes[meant].model_copy(update={"name": name}))
        found.taken.append(f"route '{name}': the same as '{meant}'")


def _words(deployments: int, behind: bool) -> str:  # noqa: FBT001
    sides = "one upstream" if deployments == 1 else f"split over {deployments} upstreams"
    return sides + (", others behind it" if behind else "")


def _say_left(config: Mapping[str, Any], router: Mapping[str, Any], found: Imported) -> None:
    notes = {
        "general_settings": "keys, tenants and the database have commands of their own (sartor key --help)",
        "environment_variables": "set them for the server's process",
        "routing_strategy": "requests are split by weight, and one user stays on one side",
    }
    found.left += [f"{name}: {note}" for name, note in notes.items() if name in config or name in router]
    known = USED_ROUTER | set(notes)
    others = sorted(set(_settings(config)) - known)
    if others:
        found.left.append(f"settings without a counterpart: {', '.join(others)}")


def _settings(config: Mapping[str, Any]) -> Iterator[str]:
    for section in ("litellm_settings", "router_settings"):
        yield from config.get(section) or {}
    yield from set(config) - {"model_list", "litellm_settings", "router_settings"}
