"""Health of a worker's container: a process that lives in it said lately that it can adapt."""

import socket
import sys
from pathlib import Path

from adapter.config import Settings
from adapter.store import connect

host = socket.gethostname()
processes = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
beats = connect(Settings().records_url).exists(*(f"il:worker:{host}:{process}" for process in processes))
sys.exit(0 if beats else f"no process of {host} is ready to adapt")
