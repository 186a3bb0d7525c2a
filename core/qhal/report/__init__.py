"""Reports: a page says what, a rendering how. One module per page, one per rendering."""

from qhal.report.markdown import to_markdown
from qhal.report.text import to_text

__all__ = ["to_markdown", "to_text"]
