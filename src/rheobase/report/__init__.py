"""Reports: a pure function of run folders. `write_report` makes a page of one, `comparison_table` a table of
several. Nothing here trains, evaluates or changes a run."""

from rheobase.report.compare import comparison_table
from rheobase.report.fields import RunFileError
from rheobase.report.page import write_report
from rheobase.report.run import Run, read_run

__all__ = ["Run", "RunFileError", "comparison_table", "read_run", "write_report"]
