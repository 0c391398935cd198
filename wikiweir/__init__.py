"""The kernel: what an event is, what is measured, where things live, settings and clock.

Every room may import it; it imports none of them, no Spark, no Kafka, no database driver.
"""
