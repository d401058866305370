"""Stands in for the exporters and the receiver: each shows that it reaches what it must tell of."""
