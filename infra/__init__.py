"""Provisioning: the registry and the plan become cloud resources, the resources become typed outputs."""
