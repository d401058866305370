"""The local edition of the cloud: what it makes (`cloud`), what it boots (`images`), how the engine reaches it (`plugin`)."""
