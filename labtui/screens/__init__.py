"""One module per screen: what it reads (in the poller's thread), how it looks, what its keys do."""
