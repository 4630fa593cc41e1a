"""The dashboard and the API: they read what each cycle leaves behind and never call the control loop."""
