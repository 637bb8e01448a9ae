"""The timetable: which job runs when, on which queue. Times are UTC; durations are in seconds.

A job is one task function (bionewsbot/tasks/) and one entry here. `starting_deadline` is how late
the job may still start (its message expires then, and the run is on record as missed);
`run_deadline` is how long the run may take before what is left of it counts as failed.
docs/scheduler.md has the other fields: timezone, catch_up, overlap, jitter, enabled.
"""

from celery.schedules import crontab

from bionewsbot import names
from bionewsbot.settings import current

settings = current()

beat_schedule = {
    "daily_company_analysis": {
        "task": names.DAILY_COMPANY_ANALYSIS,
        "schedule": crontab(hour=settings.daily_analysis_hour, minute=0),
        "options": {"queue": names.QUEUE_DEFAULT},
        "starting_deadline": 6 * 3600,
        "run_deadline": 6 * 3600,
    },
    "hourly_quick_scan": {
        "task": names.HOURLY_QUICK_SCAN,
        "schedule": crontab(minute=0),
        "options": {"queue": names.QUEUE_HIGH},
        "starting_deadline": 30 * 60,
        "run_deadline": 50 * 60,
    },
    "data_cleanup": {
        "task": names.DATA_CLEANUP,
        "schedule": crontab(hour=3, minute=0),
        "options": {"queue": names.QUEUE_LOW},
        "starting_deadline": 6 * 3600,
        "run_deadline": 12 * 3600,
    },
    "report_archival": {
        "task": names.REPORT_ARCHIVAL,
        "schedule": crontab(day_of_month=1, hour=1, minute=0),
        "options": {"queue": names.QUEUE_LOW},
        "starting_deadline": 7 * 86_400,
        "run_deadline": 12 * 3600,
    },
    "database_optimisation": {
        "task": names.DATABASE_OPTIMISATION,
        "schedule": crontab(day_of_week="sun", hour=2, minute=0),
        "options": {"queue": names.QUEUE_LOW},
        "starting_deadline": 12 * 3600,
        "run_deadline": 12 * 3600,
    },
    "weekly_comprehensive_report": {
        "task": names.WEEKLY_COMPREHENSIVE_REPORT,
        "schedule": crontab(
            day_of_week=settings.weekly_report_day, hour=settings.weekly_report_hour, minute=0
        ),
        "options": {"queue": names.QUEUE_DEFAULT},
        "starting_deadline": 24 * 3600,
        "run_deadline": 6 * 3600,
    },
}
