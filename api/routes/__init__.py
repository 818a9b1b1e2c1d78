"""One file a resource; each endpoint reads, asks and words."""
