"""The control plane as an OpenAPI 3.1 document, made from its table."""

import inspect
import re
from typing import Any

from sartor.gateway.openapi import Error
from sartor.interfaces.api.endpoint import Endpoint, Fields
from sartor.interfaces.api.table import ENDPOINTS

REF = "#/components/schemas/{model}"
NAMED = {"type": "string", "maxLength": 200, "pattern": r"^[a-z0-9][a-z0-9._-]{0,127}(@[a-z0-9][a-z0-9._-]{0,127})?$"}


def document() -> dict[str, Any]:
    """The document."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    error = _schema(Error, schemas)
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas, error)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Sartor control plane", "version": "1"},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Any], error: dict[str, Any]) -> dict[str, Any]:
    media = "text/plain" if endpoint.path == "/metrics" else "application/json"
    said = (inspect.getdoc(endpoint.function) or "").partition("\n")[0]
    found: dict[str, Any] = {
        "summary": said.rstrip("."),
        "operationId": endpoint.deed,
        "x-permission": endpoint.permission,
        "responses": {
            "200": {"description": "What the command line prints with --json", "content": {media: {"schema": {}}}},
            "default": {"description": "Refused or failed", "content": {"application/json": {"schema": error}}},
        },
    }
    if endpoint.permission != "anyone":
        found["security"] = [{"key": []}]
    inside = [
        {"name": name, "in": "path", "required": True, "schema": NAMED}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    parameters = inside + (_query(endpoint.query, schemas) if endpoint.query else [])
    if parameters:
        found["parameters"] = parameters
    if endpoint.body:
        needed = any(field.is_required() for field in endpoint.body.model_fields.values())
        schema = _schema(endpoint.body, schemas)
        found["requestBody"] = {"required": needed, "content": {"application/json": {"schema": schema}}}
    return found


def _query(model: type[Fields], schemas: dict[str, Any]) -> list[dict[str, Any]]:
    whole = model.model_json_schema(ref_template=REF)
    schemas |= whole.pop("$defs", {})
    required = set(whole.get("required", ()))
    return [
        {"name": name, "in": "query", "required": name in required, "schema": schema}
        for name, schema in whole["properties"].items()
    ]


def _schema(model: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    whole = model.model_json_schema(ref_template=REF)
    schemas |= whole.pop("$defs", {})
    schemas[model.__name__] = whole
    return {"$ref": REF.format(model=model.__name__)}
