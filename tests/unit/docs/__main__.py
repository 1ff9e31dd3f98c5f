"""`python -m tests.unit.docs`: write the rules' words and the ladders of now into the runbook pages."""

from __future__ import annotations

from lambdas.core.diagnosis import Diagnosis
from tests.unit.docs import pages
from tests.unit.docs.generated import brought_up_to_date


def main() -> None:
    """Say which pages changed; what else on them is still true, a person has to read."""
    for name in pages.names():
        page = pages.text(name)
        after = brought_up_to_date(page, Diagnosis(name))
        if after != page:
            (pages.RUNBOOKS / f"{name}.md").write_text(after)
            print(f"{name}: changed; read the rest of the page")


main()
