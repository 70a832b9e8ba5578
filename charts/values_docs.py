"""Writes the chart's values.schema.json and README.md from its values.yaml, so that the three cannot disagree.

A comment right above a key speaks of it: lines from ``# --`` on describe it, a line ``# @schema {...}`` is merged into
the schema that its default implies. Two generators in Go would do one half each, with two dialects of comments.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Value", "ValuesError", "leaves", "main", "readme", "schema", "values"]

CHART = Path(__file__).with_name("ragline")

HEAD = """\
# The Ragline chart

Document question answering on a Kubernetes cluster: the API, a worker for each queue, and the stores they need
(Valkey, Chroma, an S3 server), each of which can be one of yours instead. Needs Kubernetes 1.30 and Helm 4. With
[KEDA](https://keda.sh) on the cluster the workers follow their queues, down to zero; without it their number is fixed.

    helm install ragline charts/ragline --namespace ragline --create-namespace
    helm test ragline --namespace ragline

Passwords that you do not give are made at the first install and kept. Volumes outlive the release: `helm uninstall`
leaves the claims where they are, and an install of the same name finds its documents again.

A key that is not in these tables is refused by its name. `worker.queues` holds what a queue's worker has different
from `worker.defaults`:

    worker:
      queues:
        document:
          maxReplicas: 20

`make chart-docs` writes this page and `values.schema.json` from `values.yaml`.
"""

TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
LONGEST_DEFAULT = 80
"""Characters; a longer default would make the table unreadable, and stands in values.yaml."""


class ValuesError(Exception):
    """A key of values.yaml without a description, or with a comment that cannot be read; the message names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One key of values.yaml: where it is, what it is for and what it accepts."""

    path: tuple[str, ...]
    default: Any
    description: str
    schema: dict[str, Any]
    children: list["Value"] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The path as `--set` takes it."""
        return ".".join(self.path)


def values(text: str) -> list[Value]:
    """Read a values.yaml.

    Raises
    ------
    ValuesError
        When a leaf has no description, or a comment cannot be read.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise ValuesError("values.yaml must be a map")
    return _children(root, (), text.splitlines())


def leaves(found: list[Value]) -> Iterator[Value]:
    """All values that have no described values below them."""
    for value in found:
        if value.children:
            yield from leaves(value.children)
        else:
            yield value


def schema(found: list[Value]) -> dict[str, Any]:
    """Give the JSON schema that Helm holds a user's values against."""
    # Helm puts `global` beside the values of a chart that another chart depends on.
    properties = {"global": {"description": "Values of a chart around this one; not read.", "type": "object"}}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Values of the Ragline chart",
        "type": "object",
        "additionalProperties": False,
        "properties": properties | {value.path[-1]: _value_schema(value) for value in found},
    }


def readme(found: list[Value]) -> str:
    """Give the chart's page: what it is, then a table for each part."""
    alone = [value for value in found if not value.children]
    parts = [_table("General", alone)]
    parts += [_table(f"`{value.key}`", leaves(value.children)) for value in found if value.children]
    return "\n".join([HEAD, "## Values\n", *parts])


def main() -> None:
    """Write both files next to values.yaml."""
    for path, text in generated((CHART / "values.yaml").read_text(encoding="utf-8")).items():
        path.write_text(text, encoding="utf-8")


def generated(text: str) -> dict[Path, str]:
    """Give the content of both files by their paths."""
    found = values(text)
    return {
        CHART / "values.schema.json": json.dumps(schema(found), indent=2, ensure_ascii=False) + "\n",
        CHART / "README.md": readme(found),
    }


def _children(node: yaml.MappingNode, path: tuple[str, ...], lines: list[str]) -> list[Value]:
    return [_value(key, child, (*path, key.value), lines) for key, child in node.value]


def _value(key: yaml.ScalarNode, node: yaml.Node, path: tuple[str, ...], lines: list[str]) -> Value:
    description, fragment = _comment(key, path, lines)
    default = yaml.SafeLoader("").construct_document(node)
    own = {"type": TYPES.get(type(default), "null")} | fragment
    passed_on = own.get("additionalProperties", False) is not False or "patternProperties" in own
    children = [] if passed_on or not isinstance(node, yaml.MappingNode) else _children(node, path, lines)
    if not children and not description:
        raise ValuesError(f"{'.'.join(path)} has no description: put a line `# -- ...` above it")
    return Value(path=path, default=default, description=description, schema=own, children=children)


def _comment(key: yaml.ScalarNode, path: tuple[str, ...], lines: list[str]) -> tuple[str, dict[str, Any]]:
    """What the lines right above a key say: its description, and its fragment of a schema."""
    first = key.start_mark.line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    words: list[str] = []
    fragment: dict[str, Any] = {}
    for line in (line.strip().removeprefix("#").strip() for line in lines[first : key.start_mark.line]):
        if line.startswith("@schema"):
            fragment |= _fragment(line.removeprefix("@schema"), path)
        elif line.startswith("-- "):
            words = [line.removeprefix("-- ")]
        elif words:
            words.append(line)
    return " ".join(words), fragment


def _fragment(text: str, path: tuple[str, ...]) -> dict[str, Any]:
    try:
        fragment = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValuesError(f"{'.'.join(path)} has a schema that is no YAML: {text.strip()}") from error
    if not isinstance(fragment, dict):
        raise ValuesError(f"{'.'.join(path)} has a schema that is no map: {text.strip()}")
    return fragment


def _value_schema(value: Value) -> dict[str, Any]:
    own = ({"description": value.description} if value.description else {}) | value.schema
    if value.schema["type"] == "object" and "additionalProperties" not in value.schema:
        own["additionalProperties"] = False
    if value.children:
        own["properties"] = {child.path[-1]: _value_schema(child) for child in value.children}
    return own


def _table(title: str, rows: Iterator[Value] | list[Value]) -> str:
    lines = [f"### {title}", "", "| Key | Accepts | Default | What it is for |", "|---|---|---|---|"]
    for row in rows:
        cells = [f"`{row.key}`", _accepted(row.schema), _default(row.default), row.description]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join([*lines, ""])


def _accepted(own: dict[str, Any]) -> str:
    if "enum" in own:
        return ", ".join(f"`{choice}`" for choice in own["enum"])
    kind = own["type"] if isinstance(own["type"], str) else " or ".join(own["type"])
    low, high = own.get("minimum"), own.get("maximum")
    if low is not None:
        kind += f", {low} to {high}" if high is not None else f", {low} or more"
    if "maxLength" in own:
        kind += f", at most {own['maxLength']} characters"
    if "minLength" in own:
        kind += ", not empty"
    if "pattern" in own:
        kind += f", like `{own['pattern']}`"
    return kind


def _default(default: object) -> str:
    text = json.dumps(default, ensure_ascii=False)
    return f"`{text}`" if len(text) <= LONGEST_DEFAULT else "see `values.yaml`"


if __name__ == "__main__":
    try:
        main()
    except ValuesError as error:
        sys.exit(re.sub(r"\s+", " ", str(error)))
