"""Where things lie on a node; docs/contracts.md says what they hold."""

from pathlib import Path

NODE_FILE = Path("/etc/pgmend/node.json")
SECRET_FILE = Path("/etc/pgmend/monitor.json")  # the monitor role's password, for the agent alone
STATE = Path("/var/lib/pgmend-agent")  # the agent's own, on the root disk
DATA = Path("/var/lib/pgmend")  # the slot's disk
