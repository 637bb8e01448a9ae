"""The reference Backend API: serves the contract that the scheduler's workers speak.

It shares nothing with the scheduler but that contract; start it with `python -m
bionewsbot.backend`.
"""
