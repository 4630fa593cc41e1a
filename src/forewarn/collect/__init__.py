"""What runs on hosts: light collectors of real telemetry and the agent that sends it. No numpy, no Arrow, no models."""
