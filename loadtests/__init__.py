"""Rehearsals: journeys, scenarios, the launch gate, the capacity model."""
