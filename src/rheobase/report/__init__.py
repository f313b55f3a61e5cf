"""Reports: a pure function of run folders. `write_report` makes a page of one, `comparison_table` a table of
several; `write_comparison` and `comparison_text` set learning rules side by side. Nothing here trains,
evaluates or changes a run."""

from rheobase.report.compare import comparison_table
from rheobase.report.comparison import comparison_text
from rheobase.report.comparison_page import write_comparison
from rheobase.report.fields import RunFileError
from rheobase.report.page import write_report
from rheobase.report.run import Run, read_run

__all__ = [
    "Run",
    "RunFileError",
    "comparison_table",
    "comparison_text",
    "read_run",
    "write_comparison",
    "write_report",
]
