"""MkDocs hooks: the pages of the repository as they are, and a page for every file that they link to.

The pages link to each other and to code by paths of the repository, as its readers need it. On the site the documents
outside docs/ become pages too, and whatever else is linked to gets a page that shows it. So the site is complete by
itself, and a link to nothing is left as it is for MkDocs to refuse."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parent.parent.parent
DOCS = REPOSITORY / "docs"
# Documents outside docs/, and their places on the site.
OUTSIDE = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
LINK = re.compile(r"(?P<before>!?\[[^\]]*\]\()(?P<path>[^)\s#:]+)(?P<fragment>#[^)\s]*)?\)")
LANGUAGES = {
    ".c": "c", ".cfg": "ini", ".h": "c", ".json": "json", ".pxd": "cython", ".py": "python", ".pyi": "python",
    ".pyx": "cython", ".sh": "sh", ".toml": "toml", ".yaml": "yaml",
}  # fmt: skip


def documents() -> dict[Path, str]:
    """Every document and its place on the site."""
    found = {REPOSITORY / name: place for name, place in OUTSIDE.items()}
    return found | {path: path.relative_to(DOCS).as_posix() for path in sorted(DOCS.rglob("*.md"))}


def place_of(path: Path) -> str:
    """Where the site has a file or folder of the repository."""
    name = path.relative_to(REPOSITORY).as_posix()
    if name in OUTSIDE:
        return OUTSIDE[name]
    if DOCS in path.parents:
        return path.relative_to(DOCS).as_posix()
    return f"source/{name}/index.md" if path.is_dir() else f"source/{name}.md"


def linked(document: Path, path: str) -> Path | None:
    """The file of the repository that a document's link means; None: there is none."""
    found = (document.parent / path).resolve()
    return found if found.exists() and REPOSITORY in found.parents else None


def shown_files() -> set[Path]:
    """What is linked to and no document, with the files of a folder that is."""
    found = set()
    for document in documents():
        targets = (linked(document, match["path"]) for match in LINK.finditer(document.read_text("utf-8")))
        found |= {target for target in targets if target and DOCS not in target.parents}
    found -= documents().keys()
    return found | {inside for folder in found if folder.is_dir() for inside in files_of(folder)}


def files_of(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.is_file() and not path.name.startswith("."):
            yield path


def text_of(path: Path) -> str | None:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        return None


def shown(path: Path) -> str:
    """The page of a file or a folder."""
    title = f"# {path.relative_to(REPOSITORY).as_posix()}\n\n"
    if path.is_dir():
        return title + "\n".join(f"- [{inside.name}]({inside.name}.md)" for inside in files_of(path))
    text = text_of(path)
    if text is None:
        return f"{title}{path.stat().st_size:,} bytes, no text."
    if path.suffix == ".md":
        return text
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{title}{fence} {LANGUAGES.get(path.suffix, 'text')}\n{text.rstrip()}\n{fence}\n"


# --- what MkDocs calls


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Notes of design stand behind what the table of contents names, and last what it forgot, so that none is lost."""
    nav: list[Any] = config.nav or []
    named = set(re.findall(r"[\w./]+\.md", repr(nav)))
    others = [place for place in documents().values() if place not in named]
    notes = [place for place in others if place.startswith("design/")]
    for title, places in (("Design", notes), ("More", [place for place in others if place not in notes])):
        if places:
            nav.append({title: places})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    for name, place in OUTSIDE.items():
        files.append(File.generated(config, place, content=(REPOSITORY / name).read_text("utf-8")))
    for path in sorted(shown_files()):
        page = File.generated(config, place_of(path), content=shown(path), inclusion=InclusionLevel.NOT_IN_NAV)
        files.append(page)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links by paths of the repository become links by places of the site."""
    place = page.file.src_uri
    document = next((path for path, known in documents().items() if known == place), None)
    if document is None:
        return markdown

    def moved(match: re.Match[str]) -> str:
        target = linked(document, match["path"])
        if target is None:
            return match[0]
        path = posixpath.relpath(place_of(target), posixpath.dirname(place) or ".")
        return f"{match['before']}{path}{match['fragment'] or ''})"

    return LINK.sub(moved, markdown)
