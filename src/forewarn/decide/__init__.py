"""Deciding: pure functions from a situation and a policy to a plan that leaves nothing to choose."""
