"""The text of config files: what is no longer visible after YAML has read it."""

from __future__ import annotations

import json
from pathlib import Path

import yaml

from rdpipe.config.values import number_in_yaml
from rdpipe.core.errors import InputError

MERGE_KEY = "<<"
"""Key that may be repeated in a mapping."""
STRING = "tag:yaml.org,2002:str"
"""Tag of scalars that YAML reads as text."""


def check_text(file: Path) -> None:
    """Check that a config file has no duplicate keys, and no numbers that YAML reads as text.

    Files that YAML cannot read are left to Snakemake, which reads them too.

    Parameters
    ----------
    file : Path
        YAML or JSON.

    Raises
    ------
    InputError
        If it has; names the line.
    """
    text = file.read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return
    nodes = _descendants(root)
    for node in nodes:
        if isinstance(node, yaml.MappingNode):
            _check_keys(node, file)
    if not _is_json(text):
        for node in nodes:
            _check_numbers(node, file)


def _descendants(root: yaml.Node | None) -> list[yaml.Node]:
    """Return a node and all nodes below it once, even if aliases make a cycle."""
    nodes: dict[int, yaml.Node] = {}
    queue = [root] if root else []
    while queue:
        node = queue.pop()
        if id(node) not in nodes:
            nodes[id(node)] = node
            queue += _children(node)
    return sorted(nodes.values(), key=lambda node: node.start_mark.index)


def _children(node: yaml.Node) -> list[yaml.Node]:
    """Return the items of a sequence, or the values of a mapping."""
    if isinstance(node, yaml.MappingNode):
        return [value for _, value in node.value]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _check_keys(mapping: yaml.MappingNode, file: Path) -> None:
    """Check that the keys of a mapping differ; of equal keys, YAML takes the last."""
    lines: dict[tuple[str, str], int] = {}
    for key, _ in mapping.value:
        if not isinstance(key, yaml.ScalarNode) or key.value == MERGE_KEY:
            continue
        line, name = key.start_mark.line + 1, (key.tag, key.value)
        if name in lines:
            raise InputError(
                f"{file}: line {line}: duplicate key {key.value!r}, which is also in line"
                f" {lines[name]}; expected it once, with all entries below it"
            )
        lines[name] = line


def _check_numbers(node: yaml.Node, file: Path) -> None:
    """Check that an unquoted text is not meant as a number."""
    if isinstance(node, yaml.ScalarNode) and node.tag == STRING and node.style is None:
        number = number_in_yaml(node.value)
        if number is not None:
            raise InputError(
                f"{file}: line {node.start_mark.line + 1}: {node.value} is a text for YAML; write"
                f" {number}, or quotes if a text is meant"
            )


def _is_json(text: str) -> bool:
    """Return whether a text is JSON, where more numbers are numbers than in YAML."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
