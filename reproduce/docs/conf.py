"""How Sphinx builds these pages. `make docs` calls it; nothing is loaded from elsewhere when they are read."""

from __future__ import annotations

import re
from typing import Any, cast

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode

from predict_diff import __version__

project = "Prediction difference analysis"
author = "its contributors"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# Anchors as GitHub makes them, where these pages are read too.
myst_heading_anchors = 3

# Docstrings are numpydoc; what stands in single backticks there is a name.
napoleon_google_docstring = False
napoleon_use_ivar = True
default_role = "py:obj"
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"  # docstrings say more: shape, dtype, unit
toc_object_entries_show_parents = "hide"
python_maximum_signature_line_length = 100

html_theme = "alabaster"
html_theme_options = {
    "description": "Which parts of an image speak for a classifier's decision, and which against it?",
    "page_width": "1240px",
    "body_max_width": "980px",
    "sidebar_width": "220px",
    "code_font_size": "0.85em",
    "font_family": "system-ui, sans-serif",
    "show_powered_by": False,
}
html_sidebars = {"**": ["about.html", "navigation.html", "searchbox.html"]}
html_static_path = ["narrow.css"]
html_css_files = ["narrow.css"]
html_copy_source = False
html_show_copyright = False


def link_by_last_name(
    app: Sphinx, environment: BuildEnvironment, node: nodes.Element, content: nodes.Element
) -> nodes.Element | None:
    """Link `Sampler`, as docstrings have it, to predict_diff.samplers.Sampler, if it is the only one of that name."""
    wanted = node.get("reftarget", "")
    known = cast(PythonDomain, environment.get_domain("py")).objects
    found = [
        (name, entry)
        for name, entry in known.items()
        if entry.objtype in ("class", "exception", "function") and f".{name}".endswith(f".{wanted}")
    ]
    if node.get("refdomain") != "py" or len(found) != 1:
        return None
    name, entry = found[0]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, name)


def as_written(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Keep marks that docstrings mean as they stand, and reStructuredText or numpydoc would take for something else."""
    if what == "property" and lines:  # what stands before a colon there would be its type
        lines[0] = lines[0].replace(": ", " – ", 1)
    for number, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):  # |x| is a magnitude, and no name of a substitution
            parts = re.split(r"(``.*?``)", line)
            lines[number] = "".join(part if part.startswith("``") else part.replace("|", r"\|") for part in parts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Called by Sphinx."""
    app.connect("missing-reference", link_by_last_name)
    app.connect("autodoc-process-docstring", as_written, priority=400)  # before napoleon
    return {"parallel_read_safe": True}
