"""Our variables, as `opentelemetry-instrument` wants to know them: each becomes an option of that command.

``OTEL_EXPORTER_OCM_ENDPOINT`` is ``--exporter_ocm_endpoint`` there. The names are those of the table of settings;
a name of OpenTelemetry's own may not stand here, for the command would then meet it twice, and stop.
"""

from __future__ import annotations

from ocm_otel._table import TABLE

globals().update({setting.variable: setting.variable for setting in TABLE})
