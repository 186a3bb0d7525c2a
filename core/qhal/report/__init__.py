"""Reports: renderings of records, written for a person at two in the morning."""

from qhal.report.markdown import to_markdown
from qhal.report.pages import check_page, record_page
from qhal.report.text import to_text

__all__ = ["check_page", "record_page", "to_markdown", "to_text"]
