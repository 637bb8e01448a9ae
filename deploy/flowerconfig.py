"""Flower's configuration (`celery -A bionewsbot flower --conf=deploy/flowerconfig.py`).

Flower runs this file at its start and takes the variables whose names are options of its own.
"""

from bionewsbot import logs
from bionewsbot.settings import current

# Tornado would add a handler of its own, with another form of line, to each logger.
logging = "none"

port = current().flower_port
logs.configure(current())
