"""Alerts: what people and Alertmanager are told, when it starts and when it ends."""
