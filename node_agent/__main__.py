"""`python3 -m node_agent` is `pgmend-node`."""

import sys

from node_agent.cli import main

sys.exit(main(sys.argv[1:]))
