"""The embedded stack behind `./weir`: the real Kafka, PostgreSQL and supervisor on one machine, and the way to them.

Nothing of it is needed where these run elsewhere: every address is a setting.
"""
