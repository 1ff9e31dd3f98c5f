"""`python3 -m node_agent.guard CONFIG` is `patroni CONFIG`, guarded."""

import sys

from node_agent.guard.launch import main

# Patroni starts PostgreSQL through a fresh interpreter that looks at this module too.
if __name__ == "__main__":
    main(sys.argv[1:])
