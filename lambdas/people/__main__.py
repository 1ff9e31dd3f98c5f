"""`python -m lambdas.people`."""

from __future__ import annotations

import sys

from lambdas.people.cli import main

sys.exit(main())
