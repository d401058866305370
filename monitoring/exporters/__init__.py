"""Exporters of our own: what no distribution's exporter tells. Each runs on a host as `python -m` of its module."""
