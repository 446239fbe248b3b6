"""Read a gateway file: upstreams and routes as YAML, checked together, then declared."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from sartor.core.errors import AskError
from sartor.core.route import Route, Target, Upstream
from sartor.core.shelf import explain
from sartor.pipeline.routes import declare_route, declared_routes
from sartor.pipeline.task_file import load_yaml, read_text
from sartor.pipeline.upstreams import declare_upstream, list_upstreams
from sartor.pipeline.workshop import Workshop


class GatewayFile(BaseModel):
    """What a gateway file declares; names that it does not mention stay as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    upstreams: tuple[Upstream, ...] = ()
    """Models of others."""
    routes: tuple[Route, ...] = ()
    """Names that applications ask for."""


@dataclass(frozen=True)
class Applied:
    """What a file changed, or would change."""

    upstreams: tuple[str, ...]
    routes: tuple[str, ...]
    unchanged: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """As JSON."""
        return {"upstreams": self.upstreams, "routes": self.routes, "unchanged": self.unchanged}


def read_gateway_file(path: Path) -> GatewayFile:
    """The upstreams and routes in a file.

    Raises:
        NotFoundError: there is no such file.
        AskError: it is no YAML or declares something that does not fit; says what and where.
    """
    return parse_gateway(load_yaml(read_text(path), str(path)), str(path))


def parse_gateway(loaded: Any, name: str) -> GatewayFile:
    """The same from a mapping."""
    if not isinstance(loaded, dict):
        raise AskError(f"{name} must be a mapping with 'upstreams' and 'routes'.", code="bad_gateway_file")
    try:
        return GatewayFile.model_validate(loaded)
    except ValidationError as error:
        raise AskError(f"{name} does not fit: {explain(error, GatewayFile)}.", code="bad_gateway_file") from error


def read_target(text: str) -> Target:
    """A target as typed on a command line: a name, or a policy as inline YAML (`{use: cascade, …}`).

    Raises:
        AskError: it is neither.
    """
    loaded = load_yaml(text, "the target")
    if not isinstance(loaded, str | dict) or not loaded:
        raise AskError(f"'{text}' is no target: give a name, or {{use: …}} with a policy's settings.", param="target")
    return loaded


def read_mapping(text: str) -> dict[str, Any]:
    """Settings as typed on a command line, as inline YAML.

    Raises:
        AskError: they are no mapping.
    """
    loaded = load_yaml(text, "the settings")
    if not isinstance(loaded, dict):
        raise AskError(f"'{text}' are no settings: write them as {{name: value, …}}.", code="bad_settings")
    return loaded


def apply(shop: Workshop, wanted: GatewayFile, why: str, *, dry_run: bool = False) -> Applied:
    """Declare what differs from what stands; upstreams first, since routes name them."""
    stand = {str(spec["name"]): Upstream.model_validate(_plain(spec)) for spec in list_upstreams(shop)}
    routes = {route.name: route for route in declared_routes(shop)}
    new_upstreams = [spec for spec in wanted.upstreams if stand.get(spec.name) != spec]
    # A stage on its way is not undone by a file that does not mention it.
    kept = [_with_stages(spec, routes.get(spec.name)) for spec in wanted.routes]
    new_routes = [spec for spec in kept if routes.get(spec.name) != spec]
    if not dry_run:
        for upstream in new_upstreams:
            declare_upstream(shop, upstream, why)
        for route in new_routes:
            declare_route(shop, route, why)
    changed = tuple(spec.name for spec in new_upstreams), tuple(spec.name for spec in new_routes)
    named = [spec.name for spec in wanted.upstreams] + [spec.name for spec in kept]
    same = [name for name in named if name not in changed[0] + changed[1]]
    return Applied(*changed, tuple(same))


def _with_stages(spec: Route, before: Route | None) -> Route:
    if before is None or before.policy != spec.policy:
        return spec
    return spec.model_copy(update={"shadow": spec.shadow or before.shadow, "canary": spec.canary or before.canary})


def _plain(shown: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in shown.items() if key in Upstream.model_fields}
