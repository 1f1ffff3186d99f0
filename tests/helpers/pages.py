"""A report as its reader has it: the contents of its page, and the tables and lists of its Markdown."""

import html.parser

from markdown_it import MarkdownIt


class Page(html.parser.HTMLParser):
    """The contents of a page: text, tables as lists of rows of cells, and the attributes of its elements."""

    VOID = ("meta", "link", "img", "br")

    def __init__(self, source):
        super().__init__()
        self.source, self.text, self.tables, self.elements, self.open = source, "", [], [], []
        self.feed(source)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data.replace("\u00a0", " ")

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def markdown_tables(text):
    """The tables of a Markdown document, as lists of rows of cells without their marks."""
    found = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "table_open":
            found.append([])
        elif token.type == "tr_open":
            found[-1].append([])
        elif token.type == "inline" and token.level == 4:
            found[-1][-1].append(plain(token))
    return found


def plain(token):
    return "".join(child.content for child in token.children)


def markdown_items(text):
    """The items of all lists."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [plain(token) for token in tokens if token.type == "inline" and token.level == 3]
