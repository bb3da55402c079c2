"""The screens, one file a page: read the session, draw widgets, call one service, show it."""
