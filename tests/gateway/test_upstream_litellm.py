"""What of a LiteLLM proxy configuration becomes upstreams and routes, and what is said to be left."""

from typing import Any

import pytest
import yaml

from sartor.core.errors import AskError
from sartor.core.route import Secret
from sartor.core.shelf import Shelf
from sartor.gateway.litellm_config import Imported, read_litellm
from sartor.gateway.policy import POLICIES

CONFIG = """
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o-2024-08-06
      api_key: os.environ/OPENAI_API_KEY
      rpm: 60
      tpm: 10000
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_base: https://eu.example.com/v1/
      api_key: os.environ/EU_KEY
      rpm: 180
      tpm: 30000
      timeout: 45
      stream_timeout: 9
      max_retries: 1
      organization: org-1
  - model_name: claude
    litellm_params: {model: anthropic/claude-sonnet-4, api_key: os.environ/ANTHROPIC_API_KEY}
  - model_name: gemini
    litellm_params: {model: gemini/gemini-2.5-flash}
  - model_name: Local Llama
    litellm_params:
      model: hosted_vllm/meta/llama-3
      api_base: os.environ/VLLM_BASE
      api_key: none
      input_cost_per_token: 0.0000005
      output_cost_per_token: 0.000001
      max_parallel_requests: 8
  - model_name: azure-gpt
    litellm_params: {model: azure/gpt-4, api_base: https://x.openai.azure.com, api_key: os.environ/AZURE}
  - model_name: "openai/*"
    litellm_params: {model: "openai/*", api_key: os.environ/OPENAI_API_KEY}
litellm_settings:
  drop_params: true
  fallbacks: [{"gpt-4o": ["claude", "azure-gpt"]}]
router_settings:
  routing_strategy: least-busy
  num_retries: 3
  model_group_alias: {"gpt-4": "gpt-4o", "old": "gone"}
general_settings:
  master_key: sk-1234
"""


def read(text: str, **environ: str) -> Imported:
    return read_litellm(yaml.safe_load(text), {"VLLM_BASE": "http://vllm:8000/v1"} | environ)


def one(**params: Any) -> Imported:
    return read_litellm({"model_list": [{"model_name": "m", "litellm_params": params}]}, {})


def test_deployments_become_upstreams():
    found = {upstream.name: upstream for upstream in read(CONFIG).upstreams}
    assert list(found) == [
        "gpt-4o-openai",
        "gpt-4o-openai-2",
        "claude-anthropic",
        "gemini-gemini",
        "local-llama-hosted-vllm",
    ]
    first, second = found["gpt-4o-openai"], found["gpt-4o-openai-2"]
    assert (first.base_url, first.model) == ("https://api.openai.com/v1", "gpt-4o-2024-08-06")
    assert (first.key, first.retries, first.exposed) == (Secret(env="OPENAI_API_KEY"), 3, False)
    assert (second.base_url, second.retries, second.allow_private) == ("https://eu.example.com/v1", 1, False)
    assert (second.timing.total, second.timing.first_token) == (45, 9)
    assert found["claude-anthropic"].protocol == "anthropic"
    assert found["gemini-gemini"].protocol == "google"
    assert found["gemini-gemini"].key == Secret(env="GEMINI_API_KEY")
    local = found["local-llama-hosted-vllm"]
    assert (local.base_url, local.model, local.key) == ("http://vllm:8000/v1", "meta/llama-3", None)
    assert (local.allow_private, local.concurrency) == (True, 8)
    assert (local.price.input_million, local.price.output_million, local.price.currency) == (0.5, 1.0, "USD")


def test_names_become_routes():
    routes = {route.name: route for route in read(CONFIG).routes}
    assert list(routes) == ["gpt-4o", "claude", "gemini", "local-llama", "gpt-4"]
    split, behind = routes["gpt-4o"].policy["to"]
    assert routes["gpt-4o"].policy["use"] == "fallback"
    assert [(arm["to"], arm["share"]) for arm in split["arms"]] == [("gpt-4o-openai", 0.25), ("gpt-4o-openai-2", 0.75)]
    assert behind == {"use": "direct", "to": "claude-anthropic"}
    assert routes["gpt-4"].policy == routes["gpt-4o"].policy
    assert routes["gpt-4o"].limits.requests_per_minute == 240
    assert routes["gpt-4o"].limits.tokens_per_minute == 40_000
    assert routes["claude"].policy == {"use": "direct", "to": "claude-anthropic"}
    assert routes["claude"].limits.requests_per_minute is None


def test_every_policy_is_one_of_the_shelf_and_takes_its_settings():
    assert isinstance(POLICIES, Shelf)

    def check(target: Any) -> None:
        if isinstance(target, str):
            return
        settings = dict(target)
        POLICIES.take(settings.pop("use")).read(settings)
        for inner in [settings.get("to")] if not isinstance(settings.get("to"), list) else settings["to"]:
            if inner is not None:
                check(inner)

    for route in read(CONFIG).routes:
        check(route.policy)


def test_what_is_left_is_said():
    left = "\n".join(read(CONFIG).left)
    for word in ("azure", "openai/*", "organization", "drop_params", "routing_strategy", "general_settings", "'old'"):
        assert word in left
    assert "fallbacks of 'gpt-4o'" in left
    assert "sk-1234" not in left


def test_three_equal_deployments_share_everything():
    entries = [{"model_name": "m", "litellm_params": {"model": f"openai/m{i}"}} for i in range(3)]
    found = read_litellm({"model_list": entries}, {})
    assert sum(arm["share"] for arm in found.routes[0].policy["arms"]) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("key", ["sk-live-abcdef", "os.environ", 12345])
def test_a_key_in_plain_text_is_refused_and_not_repeated(key: Any):
    with pytest.raises(AskError, match=r"os\.environ/NAME") as caught:
        one(model="openai/gpt-4o", api_key=key)
    assert caught.value.param == "api_key"
    assert str(key) not in caught.value.message.replace("os.environ/NAME", "")


def test_providers_are_known_by_their_models_too():
    assert one(model="claude-sonnet-4").upstreams[0].protocol == "anthropic"
    assert one(model="gpt-4o").upstreams[0].base_url == "https://api.openai.com/v1"
    named = one(model="qwen/q3", custom_llm_provider="openai", api_base="http://localhost:1/v1")
    assert named.upstreams[0].model == "qwen/q3"
    assert not one(model="bedrock/claude", api_base="http://localhost:1/v1").upstreams
    anthropic = one(model="anthropic/claude", api_base="https://proxy.example.com")
    assert anthropic.upstreams[0].base_url == "https://proxy.example.com/v1"
    assert one(model="ollama/llama3").upstreams[0].base_url == "http://localhost:11434/v1"


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "model_list"),
        ({"model_list": "x"}, "model_list"),
        ({"model_list": [{"model_name": "m"}]}, "litellm_params"),
        ({"model_list": [{"model_name": "m", "litellm_params": {"model": "hosted_vllm/x"}}]}, "api_base"),
        (
            {"model_list": [{"model_name": "m", "litellm_params": {"model": "gpt-4o", "api_base": "os.environ/NOPE"}}]},
            "NOPE",
        ),
        ({"model_list": [{"model_name": "???", "litellm_params": {"model": "gpt-4o"}}]}, "can't be written"),
        (
            {"model_list": [{"model_name": "m", "litellm_params": {"model": "gpt-4o", "max_parallel_requests": -1}}]},
            "does not fit",
        ),
    ],
)
def test_what_can_not_be_read_is_said(config: dict[str, Any], words: str):
    with pytest.raises(AskError, match=words):
        read_litellm(config, {})
