"""Writes the tables of the reference from the code, so that they cannot differ from it."""

from __future__ import annotations

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

from airflow_provider_trifacta.connection import EXTRA_FIELDS


class ConnectionSettings(Directive):
    """A table of the settings in the extra of a connection."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        rows = [["Setting", "In the form", "Section", "What it does"]] + [
            [name, field.label, str(field.schema["section"]), field.description]
            for name, field in EXTRA_FIELDS.items()
        ]
        return [_table(rows)]


def _table(rows: list[list[str]]) -> nodes.table:
    widths = [20, 20, 15, 45]
    group = nodes.tgroup(cols=len(widths))
    group += [nodes.colspec(colwidth=width) for width in widths]
    head, body = nodes.thead(), nodes.tbody()
    for number, row in enumerate(rows):
        line = nodes.row()
        for column, text in enumerate(row):
            said = nodes.literal(text, text) if number and not column else nodes.Text(text)
            line += nodes.entry("", nodes.paragraph("", "", said))
        (body if number else head).append(line)
    group += [head, body]
    return nodes.table("", group)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directives known to Sphinx."""
    app.add_directive("connection-settings", ConnectionSettings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
