"""What do published schemas say of a spec that its models alone do not?"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from contracts.adapters import ADAPTER_CONFIGS


def with_configs(schemas: dict[str, Any], ref_template: str) -> None:
    """Tells JSON schemas by name, `Adapter` among them, what each shipped adapter wants in its config."""
    configs = [(model, "validation") for model in ADAPTER_CONFIGS.values()]
    refs, shared = models_json_schema(configs, ref_template=ref_template)  # type: ignore[arg-type]  # pydantic asks for an invariant list
    schemas.update(shared["$defs"])
    schemas["Adapter"]["oneOf"] = [
        {"properties": {"name": {"const": name}, "config": refs[model, "validation"]}}
        for name, model in ADAPTER_CONFIGS.items()
    ]
