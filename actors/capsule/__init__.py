"""Incident capsules: one file with all that an instance came of."""

from .errors import CapsuleError
from .file import Capsule, Code, Contents, Failure, Masked, is_capsule
from .making import make_capsule

__all__ = [
    "Capsule",
    "CapsuleError",
    "Code",
    "Contents",
    "Failure",
    "Masked",
    "is_capsule",
    "make_capsule",
]
