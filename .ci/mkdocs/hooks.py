"""What the site needs beyond MkDocs and mkdocstrings."""

from __future__ import annotations

import re
from typing import Any

import griffe
from markdown.extensions.toc import slugify
from mkdocs.structure.files import File, Files
from pygments.formatters import HtmlFormatter

_STYLES = {"light": "default", "dark": "github-dark"}
_ROLE = re.compile(r":(?:attr|class|meth):(?=<code>)")


def on_config(config: Any) -> Any:
    """Let no heading's id begin with a digit, as that of "1. Form" would: the theme looks ids up as CSS selectors."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = _id_of
    return config


def _id_of(heading: str, separator: str) -> str:
    found = slugify(heading, separator)
    return f"section-{found}" if found[:1].isdigit() else found


def on_files(files: Files, config: Any) -> Files:
    """Write a style sheet for code in each of the two colour modes, so that none comes from another host."""
    for mode, style in _STYLES.items():
        content = HtmlFormatter(style=style).get_style_defs(".highlight")
        files.append(File.generated(config, f"css/code-{mode}.css", content=content))
    return files


def on_page_content(html: str, **_: Any) -> str:
    """Turn a docstring's ``:meth:`reset``` into plain code: the role is for editors."""
    return _ROLE.sub("", html)


class ConstantDefaults(griffe.Extension):
    """Shows what a parameter's default is, and not which constant of ours holds it."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Replace the names once everything is loaded."""
        self._visit(pkg)

    def _visit(self, item: griffe.Object) -> None:
        for member in item.members.values():
            if member.is_alias:
                continue
            if member.is_function:
                for parameter in member.parameters:
                    if isinstance(parameter.default, griffe.ExprName):
                        parameter.default = self._value(item, parameter.default)
            self._visit(member)

    @staticmethod
    def _value(scope: griffe.Object, name: griffe.ExprName) -> Any:
        try:
            constant = scope.modules_collection[scope.resolve(name.name)]
        except (KeyError, griffe.NameResolutionError):
            return name
        return constant.value if constant.is_attribute else name
