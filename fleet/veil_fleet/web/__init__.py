"""The fleet manager's page: server-rendered, live by server-sent events."""
