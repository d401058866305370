"""Screens of telephones, where messages to people are kept to be shown."""
