"""Reports: pages hold the content, renderings its form. One module for each."""

from qhal.report.markdown import to_markdown
from qhal.report.pages import Result, page_of
from qhal.report.text import to_text

__all__ = ["Result", "page_of", "to_markdown", "to_text"]
