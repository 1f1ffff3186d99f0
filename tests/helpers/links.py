"""Dead links in HTML pages, and what the pages load from other hosts."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class Page(HTMLParser):
    """The anchors of a page, and the tags and URLs of its links."""

    html: str
    anchors: set[str] = field(default_factory=set)
    links: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self):
        super().__init__()
        self.feed(self.html)

    def handle_starttag(self, tag, attrs):
        values = {name: value for name, value in attrs if value is not None}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        self.links += [(tag, values[name]) for name in ("href", "src") if name in values]


def faults(pages: dict[Path, str]) -> list[str]:
    """What is wrong with the links of pages, their HTML by the file that they stand for; other hosts are not asked."""
    parsed = {path.resolve(): Page(html) for path, html in pages.items()}
    return [
        f"{path.name}: <{tag}> {url}: {fault}"
        for path, page in parsed.items()
        for tag, url in page.links
        if (fault := _fault(path, tag, url, parsed))
    ]


def _fault(path: Path, tag: str, url: str, pages: dict[Path, Page]) -> str | None:
    parts = urlsplit(url)
    if parts.scheme == "data":
        return None
    if parts.scheme or parts.netloc:
        return None if tag == "a" else "another host"
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if not target.exists() and target not in pages:
        return "no such file"
    if parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return "no such anchor"
    return None
