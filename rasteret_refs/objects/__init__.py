"""The only folder that talks to storage: url to obstore store, signing, retries, limits, range coalescing."""
