"""The settings: one table, read from anywhere, never raising, never showing a secret."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ocm_otel import environment_variables
from ocm_otel._setting import PREFIX
from ocm_otel._settings import Settings
from ocm_otel._table import TABLE
from ocm_otel._values import SettingsError
from ocm_otel._variables import key_given, sdk_disabled

KEY = "very-Secret-Key-4711"
BY_FIELD = {setting.field: setting for setting in TABLE}


def read(**variables):
    """Return the settings of an environment, and what was reported."""
    told = []
    environ = {PREFIX + name.upper(): value for name, value in variables.items()}
    return Settings.from_env(environ, report=told.append), told


def test_the_dataclass_is_the_table():
    """Each field of `Settings` is one row of the table, with the same default."""
    fields = {field.name: field.default for field in dataclasses.fields(Settings)}
    assert fields == {setting.field: setting.default for setting in TABLE}


def test_an_empty_environment_gives_the_defaults():
    """Nothing set, nothing reported; empty and blank mean unset."""
    assert read() == (Settings(), [])
    assert read(**{setting.field: " " for setting in TABLE}) == (Settings(), [])


def test_every_row_is_told_to_a_person():
    """Each row has its variable, and a sentence of help that ends."""
    assert all(setting.variable == PREFIX + setting.field.upper() for setting in TABLE)
    assert all(setting.help.endswith(".") for setting in TABLE)


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("api_key", f" {KEY}\n", KEY), ("endpoint", "http://[::1]:8080/x?y=1", "http://[::1]:8080/x?y=1"),
        ("headers", "a=b, c = d=e ,", (("a", "b"), ("c", "d=e"))), ("timeout", " 250 ", 250), ("max_rate", "0.5", 0.5),
        ("max_rate", "1e3", 1000.0), ("on_ambiguous", " Discard", "discard"), ("on_span_error", "skip", "skip"),
        ("schedule_delay", "0", 0), ("certificate", "/x.pem", "/x.pem"),
        ("user_id_keys", "user.id, enduser.id,", ("user.id", "enduser.id")),
        ("entity_id", " resource:a.b", "resource:a.b"),
        ("baggage_keys", "user_id=a.b , ocm.entity_id,course_id",
         (("ocm.user_id", "a.b"), ("ocm.entity_id", "ocm.entity_id"), ("ocm.course_id", "course_id"))),
        ("stamp_event_id", "False", False), ("stamp_event_id", "1", True), ("user_id_hash_key", KEY, KEY),
        ("signals", " Logs,traces,", ("traces", "logs")), ("signals", "none", ()),
    ],
)  # fmt: skip
def test_a_good_value_is_taken(field, text, value):
    """A text from the environment becomes the setting's value; the same value given in code is itself."""
    settings, told = read(**{field: text})
    assert (getattr(settings, field), told) == (value, [])
    assert getattr(Settings(**{field: value}), field) == value


NUMBERS = [setting.field for setting in TABLE if setting.field != "max_rate" and setting.unit]
BAD = [
    *((field, bad) for field in NUMBERS for bad in ("ten", "-1", "1.5", "1e3", "9" * 30, "9" * 5_000, "nan", "0x10")),
    *(("max_rate", bad) for bad in ("fast", "0", "-1", "nan", "inf", "1e9", "9" * 500)),
    *(("endpoint", bad) for bad in (
        "api.example.test", "ftp://example.test", "https://", "http://x:99999/", "http://x:0/", "http://a b/", "http://ä/",
        "http://u:p@example.test/", "http://example.test/#x", "http://[::1", "http://x/\r\ny", "//x",
    )),
    *(("headers", bad) for bad in ("a=b\r\nx: y", "a b=c", "=x", "a:b=c", "ä=b", "a=ä", "a=\x00")),
    *(("api_key", bad) for bad in ("two words", "line\nbreak", "ké", "a\x00b", "k" * 513)),
    ("on_ambiguous", "maybe"), ("on_span_error", "1"), ("baggage_keys", "session.id"), ("stamp_event_id", "perhaps"),
    ("entity_id", "resource: "),
    ("on_ambiguous", "maybe"), ("on_span_error", "1"), ("signals", "spans"),
    ("signals", "[]"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "bad"), BAD)
def test_a_bad_value_is_reported_once_and_its_default_used(field, bad):
    """One message that names the variable, the value (unless secret) and the rule; the rest is as it was."""
    settings, told = read(**{field: bad})
    assert settings == Settings()
    assert len(told) == 1
    assert told[0].startswith(f"{PREFIX}{field.upper()}: ")
    assert told[0].isprintable()
    assert len(told[0]) < 250
    if BY_FIELD[field].secret:
        assert bad not in told[0]
    elif field != "endpoint":
        assert bad[:20] in told[0]
    with pytest.raises(SettingsError, match=rf"^{field}: "):
        Settings(**{field: bad})


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("timeout", True), ("timeout", 1.5), ("timeout", None.__class__), ("timeout", [1]), ("max_rate", True),
        ("max_rate", [1]), ("api_key", 12345), ("api_key", b"x"), ("endpoint", 7), ("headers", 7), ("headers", [1, 2]),
        ("headers", [("a",)]), ("certificate", 7), ("user_id_keys", 7), ("user_id_keys", [7]), ("entity_id", True),
        ("stamp_event_id", 2), ("baggage_keys", 7), ("baggage_keys", {"session": "x"}),
        ("timeout", float("inf")), ("timeout", float("nan")),
    ],
)  # fmt: skip
def test_a_bad_value_in_code(field, bad):
    """In code a bad value is a `SettingsError`; of a configuration file it is reported and left out."""
    with pytest.raises(SettingsError, match=rf"^{field}: "):
        Settings(**{field: bad})
    told = []
    assert Settings.from_env({}, {field: bad}, report=told.append) == Settings()
    assert len(told) == 1
    assert told[0].startswith(f"{field}: ")


def test_an_unknown_setting_is_reported():
    """A misspelt name in a configuration file is told, with the names that there are."""
    told = []
    assert Settings.from_env({}, {"time_out": 5, "timeout": 7}, report=told.append) == Settings(timeout=7)
    assert len(told) == 1
    assert "'time_out'" in told[0]
    assert "timeout" in told[0]


def test_what_is_given_wins():
    """Code before our variable before OpenTelemetry's; a bad one gives way to the next."""
    theirs = {"OTEL_BSP_SCHEDULE_DELAY": "5", "OTEL_BSP_MAX_QUEUE_SIZE": "77"}
    assert Settings.from_env(theirs).schedule_delay == 5
    assert Settings.from_env({**theirs, f"{PREFIX}SCHEDULE_DELAY": "6"}).schedule_delay == 6
    assert Settings.from_env({**theirs, f"{PREFIX}SCHEDULE_DELAY": "6"}, {"schedule_delay": 7}).schedule_delay == 7
    told = []
    read = Settings.from_env({**theirs, f"{PREFIX}SCHEDULE_DELAY": "soon"}, report=told.append)
    assert (read.schedule_delay, read.max_queue_size, len(told)) == (5, 77, 1)


@given(st.dictionaries(st.sampled_from([setting.variable for setting in TABLE]), st.text(max_size=60)))
def test_no_environment_raises(environ):
    """Any texts in any variables: nothing is raised, and at most one message for each."""
    told = []
    settings = Settings.from_env(environ, report=told.append)
    assert len(told) <= len(environ)
    assert Settings(**dataclasses.asdict(settings)) == settings


anything = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text())


@given(st.dictionaries(st.sampled_from([*BY_FIELD, "other"]), anything))
def test_no_configuration_file_raises(options):
    """Any values from a file: nothing is raised, and at most one message for each."""
    told = []
    Settings.from_env({}, options, report=told.append)
    assert len(told) <= len(options)


@pytest.mark.parametrize(
    "variables",
    [
        {"api_key": KEY}, {"api_key": KEY + " " + KEY}, {"api_key": KEY + "\n" + KEY}, {"api_key": KEY + "é"},
        {"headers": f"authorization={KEY}"}, {"headers": f"authorization: {KEY}"}, {"headers": f"a=b\n{KEY}"},
        {"headers": f"{KEY}/x"}, {"headers": f"a b={KEY}"}, {"endpoint": f"https://user:{KEY}@example.test/"},
        {"endpoint": f"https://{KEY}@example.test/"}, {"user_id_hash_key": KEY},
    ],
)  # fmt: skip
def test_no_secret_is_shown(variables):
    """Neither a message nor a repr holds a key, a header or a password, however wrongly it was set."""
    settings, told = read(**variables)
    assert KEY not in repr(settings) + str(settings) + "".join(told)
    field, value = next(iter(variables.items()))
    try:
        shown = repr(Settings(**{field: value}))
    except SettingsError as error:
        shown = str(error)
    assert KEY not in shown


def test_the_key_comes_from_its_file(tmp_path):
    """A mounted secret is read without the line break at its end; the variable wins over the file."""
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    assert Settings(api_key_file=path).key(real=False) == KEY
    assert Settings(api_key_file=str(path), api_key="other").key(real=False) == "other"


@pytest.mark.parametrize("content", [None, b"", b"\n", b"two words", b"\xff\xfe", b"k" * 600, "directory", "nul"])
def test_a_bad_key_file_is_one_clear_error(tmp_path, content):
    """A file that is missing, empty or no key is a `SettingsError` that names the setting, and shows nothing of it."""
    path = tmp_path / "key"
    if content == "directory":
        path.mkdir()
    elif content == "nul":
        path = Path(str(path) + "\0")
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match="API_KEY_FILE") as caught:
        Settings(api_key_file=path).key()
    assert "two words" not in str(caught.value)


def test_no_key_says_what_to_set():
    """Without any key the message names the variable."""
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OCM_API_KEY"):
        Settings().key()


@pytest.mark.parametrize(
    ("endpoint", "clear"),
    [
        ("https://example.test/", False), ("http://example.test/", True), ("http://localhost:1/", False),
        ("http://127.0.0.1/", False), ("http://127.9.9.9/", False), ("http://[::1]/", False),
        ("http://10.0.0.1/", True),
        ("HTTP://LOCALHOST/", False), ("http://127.0.0.1.evil.test/", True),
    ],
)  # fmt: skip
def test_who_could_read_along(endpoint, clear):
    """Plain http to another machine is known; the own machine is no danger."""
    assert Settings(endpoint=endpoint).in_the_clear is clear


def test_baggage_keys_of_a_file():
    """A configuration file may name baggage entries as a list or as a mapping."""
    for keys in (["user_id=a", "entity_id=b"], {"user_id": "a", "ocm.entity_id": "b"}):
        settings = Settings.from_env({}, {"baggage_keys": keys})
        assert settings.baggage_keys == (("ocm.user_id", "a"), ("ocm.entity_id", "b"))
        assert hash(settings) == hash(Settings(baggage_keys=keys))


def test_a_key_to_hide_ids_with_is_never_left_out():
    """Whatever the key is, it is used: to leave it out would send what it is to hide."""
    assert Settings.from_env({}, {"user_id_hash_key": 83}).user_id_hash_key == "83"


@pytest.mark.parametrize(
    ("options", "variables", "expected"),
    [
        ({}, {"OTEL_SERVICE_NAME": "shop"}, (False, False)),
        ({}, {"OTEL_EXPORTER_OCM_API_KEY": ""}, (False, False)),
        ({"api_key": ""}, {}, (False, False)),
        ({}, {"OTEL_EXPORTER_OCM_REAL_API": "refuse"}, (False, False)),
        ({"timeout": 7}, {}, (False, True)),
        ({}, {"OTEL_EXPORTER_OCM_ENDPOINT": "x"}, (False, True)),
        ({}, {"OTEL_EXPORTER_OCM_API_KEY_FILE": "/x"}, (True, True)),
        ({"api_key": KEY}, {}, (True, True)),
    ],
)  # fmt: skip
def test_whether_anybody_wants_us(options, variables, expected):
    """A key is looked for in code and in the environment; other settings alone say that one was forgotten."""
    assert key_given(options, variables) == expected


@pytest.mark.parametrize(("text", "disabled"), [("true", True), (" TRUE", True), ("1", False), ("", False)])
def test_opentelemetry_is_switched_off(text, disabled):
    """`OTEL_SDK_DISABLED` is read as the SDK reads it."""
    assert sdk_disabled({"OTEL_SDK_DISABLED": text}) is disabled


def test_each_variable_is_an_option_of_the_command():
    """The module for `opentelemetry-instrument` names each of our variables, and none of OpenTelemetry's own."""
    named = {name: value for name, value in vars(environment_variables).items() if name.startswith("OTEL_")}
    assert named == {setting.variable: setting.variable for setting in TABLE}
