"""Who somebody is, for every site of the network: an OpenID Connect provider. See README.md."""
