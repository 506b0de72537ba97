"""A small learning site, people who use it, and the events that come of it: what `ocm-otel demo` shows.

`site` is an application as it could be anyone's; it knows OpenTelemetry, structlog and `logging`, and
nothing of us. `telemetry` is what a team adds to it. `visitors` are the people, `stage` puts them on, and
`screen` is what the person at the terminal sees of it. Nothing here is used by the library.
"""
