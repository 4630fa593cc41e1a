"""What must survive a restart, in one database: moves and their steps, failures, the ladder, requests, the log."""
