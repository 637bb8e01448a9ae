"""The client of the Backend API: `client` makes the calls, `transport` carries them, `models` types
what goes out and comes in."""
