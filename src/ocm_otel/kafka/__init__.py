"""The Kafka member: what a Collector wrote to Kafka comes in, and goes out through an outbox like any other.

It is a program of its own, started by `ocm-otel kafka`. It reads what is in a record with the gateway's rooms, and has
the same table of known ids; nothing but its command knows it.
"""
