"""Pages in Markdown, as those see them who try what stands there: code blocks, commands in a line, links, headings.

A comment in the line before a block says what is to be done with it:

- ``<!-- not run: REASON -->``: it is compiled, or its commands are parsed, and no more;
- ``<!-- needs: torch, captum -->``: it runs where these packages are installed;
- ``<!-- file: study.yaml -->``: it is what stands in that file, for the blocks below it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_COMMENT = re.compile(r"<!-- (not run|needs|file): (.+) -->")
_FENCE = re.compile(r"^(`{3,})(.*)$")
_CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_LINK = re.compile(r"(?<!!)\[[^\]\n]*\]\(([^)\s]+)\)|!\[[^\]\n]*\]\(([^)\s]+)\)|^\[[^\]\n]+\]: (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A code block: its language, its text and where it begins, and what the comment before it says."""

    language: str
    text: str
    line: int
    not_run: str = ""
    needs: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True)
class Page:
    """A page, read from a file."""

    path: Path
    text: str = field(repr=False)

    @classmethod
    def read(cls, path: Path) -> Page:
        return cls(path, path.read_text(encoding="utf-8"))

    @property
    def blocks(self) -> list[Block]:
        """In their order. What begins with ``{`` is a directive for Sphinx, and no code."""
        found, comment = [], None
        lines = iter(enumerate(self.text.splitlines(), 1))
        for number, line in lines:
            if fence := _FENCE.match(line):
                inside = []
                for _, inner in lines:
                    if inner == fence[1]:
                        break
                    inside.append(inner)
                else:
                    raise AssertionError(f"{self.path}:{number}: a block that nothing ends")
                if not fence[2].startswith("{"):
                    said = {comment[1]: comment[2]} if comment else {}
                    needs = tuple(said["needs"].split(", ")) if "needs" in said else ()
                    text = "\n".join(inside) + "\n"
                    found.append(Block(fence[2], text, number, said.get("not run", ""), needs, said.get("file", "")))
            comment = _COMMENT.fullmatch(line)
        return found

    @property
    def prose(self) -> str:
        """The page without its blocks; as many lines as before."""
        kept, inside = [], ""
        for line in self.text.splitlines():
            fence = _FENCE.match(line)
            kept.append("" if inside or fence else line)
            if fence and not inside:
                inside = fence[1]
            elif line == inside:
                inside = ""
        return "\n".join(kept)

    @property
    def commands(self) -> list[str]:
        """What stands in backticks in a line, and begins with ``make`` or ``reproduce``."""
        found = [code.strip() for code in _CODE.findall(self.prose)]
        return [code for code in found if re.match(r"(make|reproduce) \S", code)]

    @property
    def files(self) -> list[str]:
        """What stands in backticks in a line, and looks like the path of one of the project's files."""
        found = [code.strip() for code in _CODE.findall(self.prose)]
        return [code for code in found if re.fullmatch(r"(predict_diff|reproduce|tests|models|data)/[\w./]+", code)]

    @property
    def links(self) -> list[str]:
        """Where its links and pictures lead."""
        text = _CODE.sub("", self.prose)
        return [next(filter(None, groups)) for groups in _LINK.findall(text)]

    @property
    def anchors(self) -> set[str]:
        """Its headings, as links name them on GitHub and in the pages that Sphinx makes."""
        headings = re.findall(r"^#+ (.+)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
