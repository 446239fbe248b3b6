"""Made-to-measure models: rows in, a gated and served model out. Nothing is imported until it is used."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sartor.core.errors import SartorError
    from sartor.core.predict import Prediction, Predictor, Request
    from sartor.core.shelf import Params, plugin
    from sartor.core.task import Task
    from sartor.core.value import Value
    from sartor.interfaces.python import Home, Model

_HOMES = {
    "Home": "sartor.interfaces.python",
    "Model": "sartor.interfaces.python",
    "Params": "sartor.core.shelf",
    "Prediction": "sartor.core.predict",
    "Predictor": "sartor.core.predict",
    "Request": "sartor.core.predict",
    "SartorError": "sartor.core.errors",
    "Task": "sartor.core.task",
    "Value": "sartor.core.value",
    "plugin": "sartor.core.shelf",
}

__all__ = [
    "Home",
    "Model",
    "Params",
    "Prediction",
    "Predictor",
    "Request",
    "SartorError",
    "Task",
    "Value",
    "plugin",
]


if not TYPE_CHECKING:  # type checkers would take it for a promise that every name is there

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'sartor' has no attribute '{name}': it has {', '.join(__all__)}")
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
