"""`python -m procession`, where the command `procession` is not on the path."""

import sys

from .cli import main

sys.exit(main())
