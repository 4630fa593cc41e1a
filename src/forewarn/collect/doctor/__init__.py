"""What can be read on this host, what is missing, and how to mend it. Nothing here changes anything."""
