"""Whom an event concerns, where its own tags do not say: other attributes, baggage, the resource.

All of it is asked for by settings, but a resource attribute with the tag's own name. What the record itself bears wins,
then what came with the request, then what holds for the process. This room decides; it puts nothing anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ocm_otel._tags import COURSE, ENTITY, EVENT, TYPE, USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context

    from ocm_otel._settings import Settings

_TAGS = (TYPE, COURSE, USER, ENTITY, EVENT)
_RESOURCE = "resource:"
_NOTHING: dict[str, object] = {}


class Beside(NamedTuple):
    """What stands beside the tags of a record.

    Attributes:
        fields: all that the record bears.
        baggage: the ids that came with the request; None to look for them where the code runs.
        resource: the attributes of what made the record.
    """

    fields: Mapping[str, object] = _NOTHING
    baggage: Mapping[str, object] | None = None
    resource: Mapping[str, object] = _NOTHING


NOTHING_BESIDE = Beside()


def asked(settings: Settings, resource: Mapping[str, object]) -> bool:
    """Return whether ids may come from anywhere but the tags, for a record of this resource."""
    if settings.user_id_keys or settings.baggage_keys or settings.entity_id is not None:
        return True
    return ENTITY in getattr(resource, "_dict", resource)  # the SDK's own mapping costs a microsecond a look


def completed(tags: Mapping[str, object], settings: Settings, beside: Beside | None) -> Mapping[str, object]:
    """Return the tags, and the ids that they leave open from where the settings allow them to come.

    Args:
        tags: of the record.
        settings: where further ids may come from.
        beside: what stands beside the tags; None if nothing of that is `asked` for.
    """
    if beside is None or not asked(settings, beside.resource):
        return tags
    resource = beside.resource
    found: dict[str, object] = {}
    if settings.user_id_keys and tags.get(USER) is None:
        values = (beside.fields.get(key) for key in settings.user_id_keys)
        found[USER] = next((value for value in values if value is not None and value != ""), None)
    if settings.baggage_keys:
        baggage = from_baggage(settings.baggage_keys) if beside.baggage is None else beside.baggage
        for tag, value in baggage.items():
            if tags.get(tag) is None and found.get(tag) is None:
                found[tag] = value
    if tags.get(ENTITY) is None and found.get(ENTITY) is None:
        found[ENTITY] = _entity(settings.entity_id, resource)
    if not any(value is not None for value in found.values()):
        return tags
    return {tag: tags.get(tag) for tag in _TAGS} | found


def _entity(wanted: str | int | None, resource: Mapping[str, object]) -> object:
    """Return the entity that holds for the process, None if there is none."""
    own = resource.get(ENTITY)
    if own is not None or wanted is None:
        return own
    name = str(wanted)
    return resource.get(name.removeprefix(_RESOURCE).strip()) if name.startswith(_RESOURCE) else name


def from_baggage(keys: Iterable[Any], context: Context | None = None) -> dict[str, object]:
    """Return the ids that the baggage of `context` (by default the current one) bears, by tag.

    What another service sent may have metadata behind a semicolon (W3C Baggage, section 3.1): it is no part of the id.

    Args:
        keys: pairs of a tag and the name of the entry that stands for it.
        context: where to look.
    """
    from opentelemetry import baggage  # only for those who asked for it

    entries = baggage.get_all(context)
    found = {tag: entries.get(name) for tag, name in keys} if entries else {}
    return {
        tag: value.partition(";")[0].strip() if isinstance(value, str) else value
        for tag, value in found.items()
        if value is not None
    }
