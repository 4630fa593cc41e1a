"""Baseboard management controllers (BMCs): power supplies, sensors and the event log, by IPMI or Redfish.

`settings.py` says whom to ask; `ipmi.py` and `redfish.py` ask and give an `Answer` (`answer.py`); `samples.py` makes
series of it and sets placeholders aside; `events.py` compares it with the last one; `poller.py` does all that for many
BMCs, each with its own time limit, `collector.py` for the agent of one host.
"""
