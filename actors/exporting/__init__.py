"""What a store holds, as files that tools for process mining read."""

from .writing import FORMATS, Exported, export

__all__ = ["FORMATS", "Exported", "export"]
