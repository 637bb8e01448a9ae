"""Commands of `celery -A bionewsbot`: one module per group.

Every call of `celery` imports every module here, `celery --help` too, so a module imports at its
top only click, the standard library, `errors` and `options`; the rest inside its commands.
"""
