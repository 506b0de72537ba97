"""The settings of the site on Django; OpenTelemetry adds its middleware to them."""

ALLOWED_HOSTS = ["127.0.0.1"]
LOGGING = {"version": 1, "disable_existing_loggers": False, "root": {"level": "INFO"}}
MIDDLEWARE: list[str] = []
ROOT_URLCONF = "django_spans"
SECRET_KEY = "of no worth"
