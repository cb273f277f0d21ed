"""The archives' services on loopback: right answers and, on demand, every failure we know of.

`python -m tests.emulator` runs them by hand; the tests start them with `Emulator`.
"""
