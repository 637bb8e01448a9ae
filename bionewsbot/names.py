"""The names that processes share: queues, tasks, message headers, Redis keys."""

QUEUE_HIGH = "high"
QUEUE_DEFAULT = "default"
QUEUE_LOW = "low"
WORKER_QUEUES = (QUEUE_HIGH, QUEUE_DEFAULT, QUEUE_LOW)
"""In the order in which a worker serves them."""

QUEUE_DEAD_LETTER = "dead_letter"
"""Holds what was given up on; never declared to a worker, so that none can consume it."""

DAILY_COMPANY_ANALYSIS = "bionewsbot.daily_company_analysis"
HOURLY_QUICK_SCAN = "bionewsbot.hourly_quick_scan"
ANALYZE_COMPANY = "bionewsbot.analyze_company"
DATA_CLEANUP = "bionewsbot.data_cleanup"
REPORT_ARCHIVAL = "bionewsbot.report_archival"
ARCHIVE_COLLECTION = "bionewsbot.archive_collection"
REMOVE_ORPHANS = "bionewsbot.remove_orphans"
TRIM_REDIS = "bionewsbot.trim_redis"
DATABASE_OPTIMISATION = "bionewsbot.database_optimisation"
OPTIMISE_DATABASE = "bionewsbot.optimise_database"
NOTIFY = "bionewsbot.notify"
SEND_NOTICE = "bionewsbot.send_notice"
WEEKLY_COMPREHENSIVE_REPORT = "bionewsbot.weekly_comprehensive_report"
GATHER_COMPANY = "bionewsbot.gather_company"
STORE_WEEKLY_REPORT = "bionewsbot.store_weekly_report"

RUN_HEADER = "bionewsbot"
"""Message header that carries a message's place in the ledger (run, target, generation)."""

KEY_PREFIX = "bionewsbot:"
"""Every Redis key of ours starts with this; RedBeat's own start with `redbeat:`."""
