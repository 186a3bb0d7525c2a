"""Reports: a page says what, a rendering how. One module per page, one per rendering."""

from qhal.report.markdown import to_markdown
from qhal.report.pages import Result, page_of
from qhal.report.text import to_text

__all__ = ["Result", "page_of", "to_markdown", "to_text"]
