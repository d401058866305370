"""A bed of containers for the playbooks alone: hosts, databases and caches without the engine and the cloud."""
