"""The table of settings: each one's name, default, unit and purpose, and how its value is read.

The table is the only description there is: the environment is read by it, `Settings(...)` is checked by it,
and the docs page is printed from it. The order is that of the page.
"""

from __future__ import annotations

from ocm_otel._setting import Setting
from ocm_otel._values import (
    read_baggage_keys,
    read_endpoint,
    read_entity,
    read_flag,
    read_headers,
    read_key,
    read_names,
    read_one_of,
    read_rate,
    read_secret,
    read_some_of,
    read_text,
    read_whole,
)

DEFAULT_ENDPOINT = "https://api.ofcourse.me/v2.0/events"
SAMPLER_MODES = ("all", "entry", "tagged", "off")
_LONGEST_MS = 24 * 60 * 60 * 1000


_time = read_whole(0, _LONGEST_MS)

TABLE: tuple[Setting, ...] = (
    Setting(
        "api_key",
        None,
        "",
        "The key of your account, sent as `x-api-key`. The only setting that has to be made: without "
        "a key nothing is accepted.",
        read_key,
        secret=True,
    ),
    Setting(
        "api_key_file",
        None,
        "",
        "A file that holds the key; for secrets that are mounted as files.",
        read_text,
    ),
    Setting(
        "endpoint",
        DEFAULT_ENDPOINT,
        "",
        "The address of the events API.",
        read_endpoint,
    ),
    Setting(
        "headers",
        (),
        "",
        "Further headers for each call, as `name=value,name=value`.",
        read_headers,
        secret=True,
    ),
    Setting(
        "timeout",
        10_000,
        "milliseconds",
        "How long one call may take.",
        read_whole(1, _LONGEST_MS),
    ),
    Setting(
        "certificate",
        None,
        "",
        "A PEM file with the certificate authorities to trust instead of the usual ones.",
        read_text,
    ),
    Setting(
        "client_certificate",
        None,
        "",
        "A PEM file with the certificate to show to the server.",
        read_text,
    ),
    Setting(
        "client_key",
        None,
        "",
        "A PEM file with the key of that certificate, if it is not in the same file.",
        read_text,
    ),
    Setting(
        "durability",
        "disk",
        "",
        "What an accepted event survives: `disk` any death of the process, `fsync` that of the "
        "machine, too (each event then waits for the medium), `memory` neither.",
        read_one_of("disk", "fsync", "memory"),
    ),
    Setting(
        "spool_dir",
        None,
        "",
        "Where events wait on disk; `ocm-otel` in the user's state directory if unset.",
        read_text,
    ),
    Setting(
        "spool_max_bytes",
        256 * 1024 * 1024,
        "bytes",
        "How much room events that wait may take on disk, those of all processes together; an event "
        "takes about 100. What comes on top is not accepted, and counted.",
        read_whole(1024 * 1024, 2**50),
    ),
    Setting(
        "max_age",
        None,
        "milliseconds",
        "How long an event may wait; an older one goes to the refused file instead of being counted "
        "late. No limit if unset.",
        read_whole(1, 10**12),
    ),
    Setting(
        "max_queue_size",
        100_000,
        "events",
        "How many events may wait in memory, where durability is `memory`; what comes on top is not "
        "accepted, and counted.",
        read_whole(1, 10_000_000),
        "OTEL_BSP_MAX_QUEUE_SIZE",
    ),
    Setting(
        "schedule_delay",
        0,
        "milliseconds",
        "How long a first event waits for company before delivery starts; 0 starts at once.",
        _time,
        "OTEL_BSP_SCHEDULE_DELAY",
    ),
    Setting(
        "max_concurrency",
        16,
        "calls",
        "The most calls under way at once; how many is best is found out. Those that hang in silence do not count.",
        read_whole(1, 1_000),
    ),
    Setting(
        "max_rate",
        None,
        "events a second",
        "How many calls may be started in a second, by all processes of the account on a machine together; "
        "no limit if unset.",
        read_rate,
    ),
    Setting(
        "shutdown_timeout",
        1_000,
        "milliseconds",
        "How long the end of the process may be held up to deliver what waits.",
        _time,
    ),
    Setting(
        "on_ambiguous",
        "retry",
        "",
        "What to do with an event whose request left and whose answer never came: `retry` may count "
        "it twice, `discard` may not count it at all.",
        read_one_of("retry", "discard"),
    ),
    Setting(
        "on_span_error",
        "send",
        "",
        "Whether a tagged span that ended with an error status is an event: `send` or `skip`.",
        read_one_of("send", "skip"),
    ),
    Setting(
        "sampler_mode",
        "all",
        "",
        "Which of the spans that your sampler drops are recorded all the same, so that their tags are seen: "
        "`all`; `entry`, those that begin a trace or come in from outside, and those that are tagged when they "
        "start; `tagged`, only the latter; `off`, none.",
        read_one_of(*SAMPLER_MODES),
    ),
    Setting(
        "user_id_keys",
        (),
        "",
        "Further attributes that name the user, as a list such as `user.id,enduser.id`; the first one that a record "
        "bears is used where it has no `ocm.user_id`.",
        read_names,
    ),
    Setting(
        "baggage_keys",
        (),
        "",
        "Ids that come with the request, in OpenTelemetry's baggage, as a list of `user_id=NAME`, `entity_id=NAME` "
        "and `course_id=NAME`; or just `ocm.user_id` for an entry of that very name. What a record itself bears wins.",
        read_baggage_keys,
    ),
    Setting(
        "entity_id",
        None,
        "",
        "The entity of all events of this process that name none; `resource:NAME` takes it from that resource "
        "attribute. A resource attribute `ocm.entity_id` counts without being named here.",
        read_entity,
    ),
    Setting(
        "user_id_hash_key",
        None,
        "",
        "If it is set, an HMAC-SHA256 of the user id, made with this key, takes the place of the id: it is all that "
        "is kept on disk and sent. At least 32 random characters are advised.",
        read_secret,
        secret=True,
    ),
    Setting(
        "stamp_event_id",
        default=True,
        unit="",
        help="Whether a tagged structlog or logging line without an `ocm.event_id` is given one, so that every door "
        "that it passes knows it; with `false` lines stay as they are, and one that passes two doors may be two.",
        read=read_flag,
    ),
    Setting(
        "explain",
        default=False,
        unit="",
        help="Whether to tell on standard error what becomes of each tag, and of what is nearly one, and why; "
        "`ocm-otel explain` sets it. It is read from the environment when the first door is imported.",
        read=read_flag,
    ),
    Setting(
        "signals",
        ("traces", "logs", "structlog"),
        "",
        "Where `OCMInstrumentor`, and with it zero code, looks for tags: any of `traces`, `logs` and `structlog`, "
        "as a list with commas, or `none`. What is named elsewhere, such as `OTEL_TRACES_EXPORTER=ocm`, is not "
        "concerned.",
        read_some_of("traces", "logs", "structlog"),
    ),
)
