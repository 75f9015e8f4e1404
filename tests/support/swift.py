"""Reads Swift source with a parser: names, calls and signatures.

This is no compiler. It knows no types, and reads names and labels of arguments only.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import tree_sitter_swift
from tree_sitter import Language, Node, Parser

PARSER = Parser(Language(tree_sitter_swift.language()))
NAMES = {"simple_identifier", "type_identifier"}
DECLARATIONS = {
    "class_declaration",
    "enum_entry",
    "enum_type_parameters",
    "function_declaration",
    "lambda_parameter",
    "parameter",
    "pattern",
    "protocol_declaration",
    "protocol_function_declaration",
    "type_parameter",
}
UNNAMED = "_"


def text_of(node: Node | None) -> str:
    """Return the source of a node."""
    assert node is not None
    assert node.text is not None
    return node.text.decode()


@dataclass(frozen=True)
class Parameter:
    """A parameter. `label` is `_` when callers do not write one."""

    label: str
    is_optional: bool = False


Signature = tuple[Parameter, ...]


@dataclass(frozen=True)
class Call:
    """A call. A closure after the parentheses is the last argument, without a label."""

    name: str
    labels: tuple[str, ...]
    has_closure: bool
    line: int

    def fits(self, signature: Signature) -> bool:
        """Return whether the labels are those of a signature, in its order."""
        parameters = list(signature)
        if self.has_closure:
            if not parameters:
                return False
            parameters.pop()
        labels = list(self.labels)
        for parameter in parameters:
            if labels and labels[0] == parameter.label:
                labels.pop(0)
            elif not parameter.is_optional:
                return False
        return not labels


class Source:
    """The syntax tree of a file."""

    def __init__(self, code: str) -> None:
        self._root = PARSER.parse(code.encode()).root_node

    def nodes(self, *types: str) -> Iterator[Node]:
        """Yield the nodes of some types, or all nodes."""
        pending = [self._root]
        while pending:
            node = pending.pop()
            if not types or node.type in types:
                yield node
            pending += reversed(node.children)

    def errors(self) -> list[int]:
        """Return the lines that are not Swift."""
        return [node.start_point.row + 1 for node in self.nodes() if node.is_error or node.is_missing]

    def declared_names(self) -> set[str]:
        """Return the names of types, functions, parameters, variables and cases."""
        declared = {text_of(node) for node in self.nodes(*NAMES) if node.parent and node.parent.type in DECLARATIONS}
        for node in self.nodes("if_statement", "guard_statement"):
            declared |= {text_of(name) for name in node.children_by_field_name("bound_identifier")}
        return declared

    def used_names(self) -> set[str]:
        """Return the names in expressions and types, without labels."""
        skipped = {*DECLARATIONS, "value_argument_label"}
        return {text_of(node) for node in self.nodes(*NAMES) if node.parent and node.parent.type not in skipped}

    def signatures(self) -> dict[str, list[Signature]]:
        """Return the signatures of functions, initializers and cases with values."""
        found: dict[str, list[Signature]] = {}
        for node in self.nodes("function_declaration", "protocol_function_declaration"):
            found.setdefault(text_of(node.child_by_field_name("name")), []).append(_parameters(node))
        for node in self.nodes("enum_entry"):
            values = node.child_by_field_name("data_contents")
            if values:
                found.setdefault(text_of(node.child_by_field_name("name")), []).append(_case_values(values))
        for node in self.nodes("class_declaration"):
            body = node.child_by_field_name("body")
            name = text_of(node.child_by_field_name("name"))
            if body and body.type == "class_body" and text_of(node.children[0]) != "extension":
                found.setdefault(name, []).extend(_initializers(body))
        return found

    def calls(self) -> Iterator[Call]:
        """Yield the calls of functions with a name."""
        for node in self.nodes("call_expression"):
            callee, suffix = node.children[0], node.children[-1]
            names = [one for one in _last_names(callee) if one.type in NAMES]
            if names:
                arguments = [one for one in suffix.children if one.type == "value_arguments"]
                values = [one for group in arguments for one in group.children if one.type == "value_argument"]
                has_closure = any(one.type == "lambda_literal" for one in suffix.children)
                line = node.start_point.row + 1
                yield Call(text_of(names[-1]), tuple(map(_label, values)), has_closure, line)


def _last_names(callee: Node) -> list[Node]:
    if callee.type == "navigation_expression":
        suffix = callee.child_by_field_name("suffix")
        return suffix.children if suffix else []
    return callee.children if callee.type == "prefix_expression" else [callee]


def _label(argument: Node) -> str:
    label = argument.child_by_field_name("name")
    return UNNAMED if label is None else text_of(label)


def _parameters(function: Node) -> Signature:
    found = []
    for node in function.children:
        if node.type == "parameter":
            label = node.child_by_field_name("external_name") or node.child_by_field_name("name")
            found.append(Parameter(text_of(label)))
        elif node.type == "=" and found:
            found[-1] = Parameter(found[-1].label, is_optional=True)
    return tuple(found)


def _case_values(values: Node) -> Signature:
    labels: list[str] = []
    is_new = True
    for node in values.children:
        if node.type == "simple_identifier":
            labels.append(text_of(node))
            is_new = False
        elif node.type == ",":
            is_new = True
        elif is_new and node.is_named:
            labels.append(UNNAMED)
            is_new = False
    return tuple(map(Parameter, labels))


def _initializers(body: Node) -> list[Signature]:
    declared = [_parameters(node) for node in body.children if node.type == "init_declaration"]
    if declared:
        return declared
    properties = [node for node in body.children if node.type == "property_declaration"]
    return [tuple(_stored(node) for node in properties if not _is_left_out(node))]


def _is_left_out(declaration: Node) -> bool:
    is_computed = any(node.type == "computed_property" for node in declaration.children)
    return is_computed or "static " in text_of(declaration) or "private let" in text_of(declaration)


def _stored(declaration: Node) -> Parameter:
    names = [node for node in declaration.children if node.type == "pattern"]
    source = text_of(declaration)
    has_default = "=" in source or source.rstrip().endswith("?")
    return Parameter(text_of(names[0]), is_optional=source.lstrip().startswith("var") and has_default)
