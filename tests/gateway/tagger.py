"""What the collector in Rust does to spans on their way: it tags those whose path begins with /save/.

It runs in that collector's own Python, as the transform processor of OpenTelemetry's Collector would in its place.
"""

from rotel_sdk.open_telemetry.common.v1 import KeyValue


def process_spans(resource_spans):
    """Tag the spans of one resource."""
    for scope in resource_spans.scope_spans:
        for span in scope.spans:
            path = next((str(pair.value.value) for pair in span.attributes if pair.key == "url.path"), "")
            if path.startswith("/save/"):
                span.attributes.append(KeyValue.new_string_value("ocm.event_type", "course-save"))
                span.attributes.append(KeyValue.new_string_value("ocm.course_id", "7"))
                span.attributes.append(KeyValue.new_string_value("ocm.user_id", path.removeprefix("/save/")))
