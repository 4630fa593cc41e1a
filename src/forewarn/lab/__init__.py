"""Real laboratories: what Forewarn looks after, raised on one machine for tests and for whoever wants to see it move.

They need root, and they start agents and controllers as processes of the command line, as an operator would.
"""
