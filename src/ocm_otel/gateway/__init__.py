"""The gateway: telemetry and calls of the API come in over HTTP, and go out through an outbox like any other.

It is a program of its own, started by `ocm-otel gateway`. It knows the engine; nothing but its command knows it.
"""
