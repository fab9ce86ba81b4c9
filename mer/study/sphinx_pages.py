"""A Sphinx extension: what the pages of the book need beside their content."""

from __future__ import annotations

import html
from typing import Any

_DESCRIPTION = "Four papers on music emotion recognition, rerun under one protocol"


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", _complete, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _complete(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    context["default_mode"] = "auto"
    # Jupyter Book loads Thebe, which nothing here uses and which comes from another server
    context["script_files"] = [f for f in context["script_files"] if "thebe" not in _text(f)]
    about = f"{context.get('title', '')}: {_DESCRIPTION}"
    facts = {"description": about, "og:title": context.get("title", ""), "og:description": about}
    tags = (
        f'<meta {"property" if ":" in name else "name"}="{name}" content="{_plain(text)}">'
        for name, text in facts.items()
    )
    context["metatags"] = "\n".join([context.get("metatags", ""), *tags])
    # The role of a list of references allows no references in it
    body = context.get("body", "")
    context["body"] = body.replace('<div role="list" class="citation-list">', "<div>")


def _text(file: Any) -> str:
    return f"{getattr(file, 'filename', file)} {getattr(file, 'attributes', '')}".lower()


def _plain(text: str) -> str:
    return html.escape(html.unescape(text))
