"""An upstream that is one adapter of several answers nobody until the server has proved that it is that adapter."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapter_server import BASE, AdapterServer, serving

from benchmarks._tiny_lm import write_tiny_adapter, write_tiny_lm
from sartor.core.errors import AskError, UpstreamError
from sartor.core.predict import Request
from sartor.core.route import Upstream
from sartor.gateway.watching import open_breakers
from sartor.pipeline.adapters import Search, Told, find_probes, prove_adapter, unload_adapter
from sartor.pipeline.gateway_file import apply, parse_gateway
from sartor.pipeline.upstreams import declare_upstream, open_declared, shown_upstream
from sartor.pipeline.workshop import Workshop
from sartor.serving.engine import Writer, open_engine
from sartor.training.job import Job, Part
from sartor.training.recipes import gguf as recipe

xllamacpp = pytest.importorskip("xllamacpp")

FREE = {"input_million": 0.0, "output_million": 0.0, "currency": "EUR"}
TEXTS = ["Sally had 12 apples", "20 steel bolts", "copper wire", "the price is 3.5"]
ASKED = Request("7 rolls", chat={"messages": [{"role": "user", "content": "7 rolls"}], "temperature": 0})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny base as GGUF, and three adapters for it."""
    pytest.importorskip("transformers")
    home = tmp_path_factory.mktemp("adapters")
    base = write_tiny_lm(home / "base")
    (home / "full").mkdir()
    (home / "full" / "model").symlink_to(base)
    _write(home / BASE, Part("full", "", np.zeros((0, 0)), home / "full", "lm", None, "full"), None, level="f32")
    found = {BASE: home / BASE}
    for seed, name in enumerate(("tickets", "invoices", "other"), 1):
        write_tiny_adapter(home / f"lora-{name}" / "adapter", seed=seed)
        part = Part(name, "", np.zeros((0, 0)), home / f"lora-{name}", "lm", base, "lora")
        found[name] = _write(home / name, part, home / BASE, keep="adapter")
    return found


def _write(folder: Path, part: Part, base: Path | None, **params: Any) -> Path:
    folder.mkdir()
    none = np.zeros(0, dtype=np.int64)
    recipe.gguf(Job((), [], none, [], none, folder, base=base, parts=(part,)), recipe.Params(**params))
    (folder / "writing.json").write_text(json.dumps({"max_tokens": 16}))
    return folder


@pytest.fixture
def server(folders: dict[str, Path], tmp_path: Path) -> Iterator[AdapterServer]:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "tiny.gguf").symlink_to(folders[BASE] / "model.gguf")
    engine = open_engine("gguf", tmp_path / "base")
    assert isinstance(engine, Writer)
    engine.add(BASE, folders[BASE])
    with serving(engine) as found:
        yield found


def declared(shop: Workshop, url: str, *names: str) -> None:
    for name in names:
        body = {"name": name, "base_url": url, "allow_private": True, "price": FREE, "retries": 0}
        declare_upstream(shop, Upstream.model_validate(body))


def opened(shop: Workshop, name: str, clock: Any = time.monotonic) -> Any:
    fields = Upstream.model_fields
    spec = {key: value for key, value in shown_upstream(shop, name).items() if key in fields}
    return open_declared(shop, Upstream.model_validate(spec), clock=clock)


async def said(model: Any) -> str:
    (answer,) = await model.predict([ASKED])
    return str(answer.output)


def vllm(folder: Path) -> Told:
    return Told("vllm", str(folder))


def test_an_adapter_is_loaded_by_api_told_from_its_rivals_and_proved(
    shop: Workshop, server: AdapterServer, folders: dict[str, Path]
) -> None:
    declared(shop, server.url, "tickets", "invoices")
    with pytest.raises(UpstreamError, match="does not exist"):
        asyncio.run(said(opened(shop, "tickets")))
    for name in ("invoices", "tickets"):
        server.answer("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folders[name])})
        found = find_probes(shop, name, Search(TEXTS, base=BASE, most=2), vllm(folders[name]))
        assert len(found["adapter"]["probes"]) == 2
        assert BASE in found["rivals"]
    assert prove_adapter(shop, "tickets")["proved"]
    ours, theirs = (asyncio.run(said(opened(shop, name))) for name in ("tickets", "invoices"))
    assert ours != theirs
    file = {"upstreams": [shown_upstream(shop, "tickets")]}
    plain = {key: value for key, value in file["upstreams"][0].items() if key in Upstream.model_fields}
    assert apply(shop, parse_gateway({"upstreams": [plain]}, "file"), "again").unchanged == ("tickets",)
    with pytest.raises(AskError, match="does not fit"):
        parse_gateway({"upstreams": [plain | {"adapter": {"probes": []}}]}, "file")


def test_a_server_that_answers_from_another_adapter_or_the_base_answers_nobody(
    shop: Workshop, server: AdapterServer, folders: dict[str, Path]
) -> None:
    declared(shop, server.url, "tickets")
    find_probes(shop, "tickets", Search(TEXTS, base=BASE), vllm(folders["tickets"]))
    now = [1000.0]
    model = opened(shop, "tickets", clock=lambda: now[0])

    async def main() -> None:
        right = await said(model)
        before = len(server.calls)
        assert await said(model) == right
        assert len(server.calls) == before + 1  # a proof holds for a while
        for liar in ("other", BASE):
            server.answer("/v1/load_lora_adapter", {"lora_name": "other", "lora_path": str(folders["other"])})
            server.mixed["tickets"] = liar
            now[0] += 301
            with pytest.raises(UpstreamError, match="does not answer as the adapter 'tickets' does") as caught:
                await said(model)
            assert caught.value.code == "wrong_adapter"
            asked = len(server.calls)
            with pytest.raises(UpstreamError, match="does not answer as"):
                _ = [chunk async for chunk in model.stream(ASKED)]
            assert len(server.calls) == asked  # left alone for a few seconds
            server.mixed.clear()
            now[0] += 6
            assert await said(model) == right

    asyncio.run(main())
    server.mixed["tickets"] = BASE
    assert not prove_adapter(shop, "tickets")["proved"]
    assert open_breakers([]) == {}


def test_a_server_that_was_started_anew_gets_the_adapter_again(
    shop: Workshop, server: AdapterServer, folders: dict[str, Path]
) -> None:
    declared(shop, server.url, "tickets")
    find_probes(shop, "tickets", Search(TEXTS, base=BASE), vllm(folders["tickets"]))

    async def main() -> None:
        model = opened(shop, "tickets")
        right = await said(model)
        server.answer("/v1/unload_lora_adapter", {"lora_name": "tickets"})
        with pytest.raises(UpstreamError, match="does not exist"):
            await said(model)
        assert await said(model) == right

    asyncio.run(main())
    unload_adapter(shop, "tickets")
    assert server.known == set()
    with pytest.raises(UpstreamError, match="cannot be found"):
        unload_adapter(shop, "tickets")


def test_what_tells_nothing_apart_is_no_probe(shop: Workshop, server: AdapterServer, folders: dict[str, Path]) -> None:
    declared(shop, server.url, "tickets", "twin")
    for name in ("tickets", "twin"):
        server.answer("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(folders["tickets"])})
    with pytest.raises(AskError, match="tells 'tickets' from 1 others"):
        find_probes(shop, "tickets", Search(TEXTS), vllm(folders["tickets"]))
    with pytest.raises(AskError, match="not as they must"):
        find_probes(shop, "tickets", Search(TEXTS, ["no"] * len(TEXTS), base=BASE), vllm(folders["tickets"]))
    server.known.clear()
    with pytest.raises(UpstreamError, match="No adapter found"):
        find_probes(shop, "tickets", Search(TEXTS), Told("vllm", "/nowhere"))
    with pytest.raises(AskError, match="no adapter declared"):
        prove_adapter(shop, "twin")


def test_llama_cpps_own_server_is_told_by_each_request(shop: Workshop, folders: dict[str, Path]) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = str(folders[BASE] / "model.gguf")
    params.lora_adapters = [
        xllamacpp.CommonAdapterLoraInfo(str(folders[name] / "adapter.gguf"), 0.0) for name in ("tickets", "invoices")
    ]
    params.n_ctx, params.n_parallel, params.warmup, params.verbosity = 512, 1, False, -1
    params.cpuparams.n_threads = params.n_threads_http = 1
    running = xllamacpp.Server(params)
    url = f"{running.listening_address}/v1"
    declared(shop, url, "tickets", "invoices")
    for place, name in enumerate(("tickets", "invoices")):
        laid = [{"id": other, "scale": float(other == place)} for other in (0, 1)]
        find_probes(
            shop, name, Search(TEXTS, base=BASE, max_tokens=8), Told(request={"lora": laid, "cache_prompt": False})
        )
    assert prove_adapter(shop, "tickets")["proved"]
    swapped = [{"id": 0, "scale": 0.0}, {"id": 1, "scale": 1.0}]
    spec = {k: v for k, v in shown_upstream(shop, "tickets").items() if k in Upstream.model_fields}
    spec["adapter"] = spec["adapter"] | {"request": {"lora": swapped, "cache_prompt": False}}
    declare_upstream(shop, Upstream.model_validate(spec), "a mistake")
    with pytest.raises(UpstreamError, match="does not answer as the adapter"):
        asyncio.run(said(opened(shop, "tickets")))
