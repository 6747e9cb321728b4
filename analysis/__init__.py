"""What runs left behind: tables, a report, the comparison of two runs, a closing summary."""

from analysis.tables import Run

__all__ = ["Run"]
