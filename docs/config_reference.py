"""Render the reference of the config from its JSON schema."""

import json
from pathlib import Path

import yaml

HEAD = """# Config reference

This page is generated from `workflow/schema.yaml`. A config is one YAML file, passed as `--configfile FILE`. A key that
is not listed here is refused before any job starts, with the nearest known key in the message.
"""


def render(schema_file: Path) -> str:
    """Return the page in Markdown: one section per key of the top level, one table row per key below."""
    schema = yaml.safe_load(schema_file.read_text())
    parts = [HEAD]
    for key, value in schema["properties"].items():
        node = resolve(value, schema)
        required = " (required)" if key in schema.get("required", []) else ""
        parts.append(f"## `{key}`{required}\n\n{describe(node, schema)}")
        rows = list(table_rows(node, schema))
        if rows:
            parts.append("| key | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows))
    return "\n\n".join(parts) + "\n"


def resolve(node: dict, schema: dict) -> dict:
    """Follow a reference into `$defs`; keys beside the reference win."""
    if "$ref" not in node:
        return node
    target = resolve(schema["$defs"][node["$ref"].rsplit("/", 1)[1]], schema)
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


def describe(node: dict, schema: dict) -> str:
    """Return the description, type and default of a key of the top level."""
    lines = [node["description"].strip()] if "description" in node else []
    lines.append(f"Type: {type_of(node, schema)}.")
    if "default" in node:
        lines.append(f"Default:\n\n```yaml\n{yaml.safe_dump(node['default'], sort_keys=False).strip()}\n```")
        lines[-1] = lines[-1].replace("\n...", "")
    return "\n\n".join(lines)


def table_rows(node: dict, schema: dict, prefix: str = ""):
    """Yield a row for each key below a node; `NAME` stands for a name that the user chooses."""
    for key, value in node.get("properties", {}).items():
        child = resolve(value, schema)
        required = " (required)" if key in node.get("required", []) else ""
        default = f"`{json.dumps(child['default'])}`" if "default" in child else ""
        meaning = child.get("description", "").strip()
        cells = (f"`{prefix}{key}`{required}", type_of(child, schema), default, meaning)
        yield "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
        yield from table_rows(child, schema, f"{prefix}{key}.")
    named = node.get("additionalProperties")
    if isinstance(named, dict):
        yield from table_rows(resolve(named, schema), schema, f"{prefix}NAME.")


def type_of(node: dict, schema: dict) -> str:
    """Return the type of a value in words, with its limits and allowed values."""
    if "enum" in node:
        return "one of " + ", ".join(f"`{json.dumps(value)}`" for value in node["enum"])
    kinds = node.get("type", "any")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    words = {"object": "mapping", "array": "list", "number": "number", "null": "`null`"}
    text = " or ".join(words.get(kind, kind) for kind in kinds)
    if "array" in kinds and "items" in node:
        text += f" of {type_of(resolve(node['items'], schema), schema)}"
    if isinstance(node.get("additionalProperties"), dict):
        text += f" from name to {type_of(resolve(node['additionalProperties'], schema), schema)}"
    limits = {"minimum": "at least", "exclusiveMinimum": "greater than", "multipleOf": "a multiple of"}
    limits |= {"maximum": "at most", "minItems": "entries: at least", "pattern": "matches"}
    for keyword, phrase in limits.items():
        if keyword in node:
            text += f", {phrase} `{node[keyword]}`"
    return text
