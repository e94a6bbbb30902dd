"""Pictures of label maps, figures, and the self-contained report page of one or several runs."""

from aczerots.report.page import write_report

__all__ = ["write_report"]
