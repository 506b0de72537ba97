"""Names that were probably meant to be tags: ``ocm.eventType``, ``ocm-course-id``, ``omc.event_type``.

Pure, and used only where a person asked what became of the tags: no record is searched for these otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from itertools import islice

from ocm_otel._tags import ALL, KEYWORD_TYPE, NESTED, TYPE

_BY_LETTERS = {tag.replace(".", "").replace("_", ""): tag for tag in ALL}
#: Attributes of one record that are looked at.
_MOST = 256
_LONGEST = 40


def near_misses(fields: Mapping[str, object], *, line: bool) -> list[str]:
    """Return what is nearly a tag, as sentences, for a record that is no event.

    Args:
        fields: the record's attributes.
        line: True for a log line, which may bear its tags as keywords or nested; a span may not.
    """
    said = []
    right = [tag for tag in ALL if fields.get(tag) is not None]
    for name in islice(fields, _MOST):
        meant = None if name in ALL else meant_by(name)
        if meant is None or (line and name == meant.replace(".", "_")):
            continue
        where = " on a span" if name == meant.replace(".", "_") else ""
        said.append(f"{name[:_LONGEST]!a} is no tag{where}: {meant} is")
    nested = fields.get(NESTED)
    if isinstance(nested, Mapping) and not nested.get("event_type"):
        said += [f"ocm has {name[:_LONGEST]!a}, and no event_type" for name in islice(map(str, nested), 1)]
    elif nested is not None and not line:
        said.append("'ocm' is no tag on a span: ocm.event_type is")
    if right and not said:
        empty = TYPE in fields or KEYWORD_TYPE in fields
        said.append(f"{', '.join(right)} without {TYPE}" if not empty else f"{TYPE} is None")
    elif not said and fields.get(TYPE, "") is None:
        said.append(f"{TYPE} is None")
    return said


@lru_cache(maxsize=4_096)
def meant_by(name: object) -> str | None:
    """Return the tag that a name was probably meant to be, None if it has nothing to do with ours."""
    from difflib import get_close_matches  # 5 ms that only a process pays that explains itself

    if not isinstance(name, str) or len(name) > _LONGEST:
        return None
    letters = "".join(char for char in name.lower() if char.isalnum())
    if letters in _BY_LETTERS:
        return _BY_LETTERS[letters]
    ours = letters.startswith("ocm") and len(letters) > len("ocm") and not name[3:4].isalnum()
    close = get_close_matches(letters, _BY_LETTERS, n=1, cutoff=0.6 if ours else 0.9)
    if close:
        return _BY_LETTERS[close[0]]
    return TYPE if ours else None
