"""Forewarn moves virtual machines off a host before its hardware fails."""
