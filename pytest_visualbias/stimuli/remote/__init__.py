"""What lies at a URL: reached through fsspec, kept in the local cache, and then as any file."""
