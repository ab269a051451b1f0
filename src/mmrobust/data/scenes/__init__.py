"""The embedded world: small pictures of coloured shapes whose captions have an exact meaning."""
