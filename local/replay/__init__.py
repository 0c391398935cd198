"""A server that behaves as Wikimedia EventStreams does, on this machine: for tests, demonstrations, benchmarks.

From invented (seeded) or recorded events it makes the same HTTP answers, frames and cursor rules as the real
one, and on request the faults of a bad day. The surprising thing: it keeps its own account of what a loss-free
client must have received (`--ground-truth`), so a test needs no trust in the client.
"""
