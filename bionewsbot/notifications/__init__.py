"""Notifications: what people are told of by which channel, at least once each. See
docs/notifications.md."""
