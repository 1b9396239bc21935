"""History from files or from code, as if it had been handled when it happened."""

from .backtest import Backtest, BacktestCounts
from .files import Imported, import_file
from .mapping import EventRule, LogMapping, read_mapping

__all__ = [
    "Backtest",
    "BacktestCounts",
    "EventRule",
    "Imported",
    "LogMapping",
    "import_file",
    "read_mapping",
]
