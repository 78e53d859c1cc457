"""Render the reference of the config from its JSON schema."""

import json
from collections.abc import Iterator
from pathlib import Path

import yaml

HEAD = """# Config reference

This page is generated from `workflow/schema.yaml`. A config is one YAML file, passed as
`--configfile FILE`. A key that is not listed here is refused before any job starts, with the
nearest known key in the message."""
TABLE_HEAD = "| key | type | default | meaning |\n|---|---|---|---|"
TYPES = {"object": "mapping", "array": "list", "null": "`null`"}
LIMITS = {
    "minimum": "at least",
    "exclusiveMinimum": "greater than",
    "maximum": "at most",
    "multipleOf": "a multiple of",
    "minItems": "number of entries at least",
    "pattern": "matches",
}
"""Keywords of the schema that limit a value, in words."""


def render(schema_file: Path) -> str:
    """Return the page in Markdown: a section per key of the top level, a row per key below."""
    schema = yaml.safe_load(schema_file.read_text())
    parts = [HEAD]
    for key, value in schema["properties"].items():
        node = resolve(value, schema)
        parts += [f"## `{key}`{is_required(key, schema)}", *describe(node, schema)]
        if rows := list(table_rows(node, schema)):
            parts.append("\n".join([TABLE_HEAD, *rows]))
    return "\n\n".join(parts) + "\n"


def resolve(node: dict, schema: dict) -> dict:
    """Follow a reference into ``$defs``; keys beside the reference override those of its target."""
    if "$ref" not in node:
        return node
    target = resolve(schema["$defs"][node["$ref"].rsplit("/", 1)[1]], schema)
    return {**target, **{key: value for key, value in node.items() if key != "$ref"}}


def is_required(key: str, node: dict) -> str:
    """Return a mark for a key that a mapping must have."""
    return " (required)" if key in node.get("required", []) else ""


def describe(node: dict, schema: dict) -> Iterator[str]:
    """Yield the paragraphs on a key of the top level: description, type and default."""
    if "description" in node:
        yield node["description"].strip()
    yield f"Type: {type_of(node, schema)}."
    if "default" not in node:
        yield "No default."
    elif not isinstance(node["default"], dict | list) or not node["default"]:
        yield f"Default: `{json.dumps(node['default'])}`."
    else:
        text = yaml.safe_dump(node["default"], sort_keys=False)
        yield f"Default:\n\n```yaml\n{text}```"


def table_rows(node: dict, schema: dict, prefix: str = "") -> Iterator[str]:
    """Yield a row for each key below a node; ``NAME`` stands for a name that the user chooses.

    Of a node with two forms, those of the default form come first.
    """
    for form in ("else", "then") if "if" in node else ():
        child = resolve(node[form], schema)
        if title := child.get("title"):
            yield f"| **{title}** | | | |"
        yield from table_rows(child, schema, prefix)
    for key, value in node.get("properties", {}).items():
        child = resolve(value, schema)
        name = f"`{prefix}{key}`{is_required(key, node)}"
        default = f"`{json.dumps(child['default'])}`" if "default" in child else ""
        meaning = child.get("description", "").strip().replace("\n", " ")
        cells = [name, type_of(child, schema), default, meaning]
        escaped = [cell.replace("|", "\\|") for cell in cells]
        yield f"| {' | '.join(escaped)} |"
        yield from table_rows(child, schema, f"{prefix}{key}.")
    if isinstance(named := node.get("additionalProperties"), dict):
        yield from table_rows(resolve(named, schema), schema, f"{prefix}NAME.")


def type_of(node: dict, schema: dict) -> str:
    """Return the type of a value in words, with its limits and allowed values."""
    if "enum" in node:
        return "one of " + ", ".join(f"`{json.dumps(value)}`" for value in node["enum"])
    kinds = node.get("type", "any")
    text = " or ".join(
        TYPES.get(kind, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    )
    if "items" in node:
        text += f" of {type_of(resolve(node['items'], schema), schema)}"
    if isinstance(named := node.get("additionalProperties"), dict):
        text += f" from name to {type_of(resolve(named, schema), schema)}"
    limits = [f"{phrase} `{node[key]}`" for key, phrase in LIMITS.items() if key in node]
    return ", ".join([text, *limits])
