"""What is computed from telemetry: the list of features, the columns added on the frame, and point-in-time labels."""
