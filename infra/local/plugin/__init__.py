"""The local edition of the `alicloud` resource provider: a thin edge on the local cloud, in the engine's protocol."""

# An explicit provider asks for exactly this version, so that no production stack can ever reach this plugin.
VERSION = "4.0.0-local"
PACKAGE = "alicloud"
