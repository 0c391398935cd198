"""A package, unlike the other folders of tests: its stack is stopped after the last of its tests."""
