"""What must survive a restart: failure events, the journal of moves, the ladder, requests and the log, in one database."""
