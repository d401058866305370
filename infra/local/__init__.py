"""The local edition of the cloud: what it makes (`cloud`), what it boots (`images`), the engine's edge (`plugin`)."""
