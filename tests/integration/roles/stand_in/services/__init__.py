"""Stands in for the services: answers who and what it is, after asking its databases."""
