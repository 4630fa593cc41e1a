"""The only place that builds running wholes from settings: the agent, the controller with its pages, the demonstration.

`agent` stays as light as what it builds; the others import the whole of Forewarn.
"""
