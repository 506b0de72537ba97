"""The people of the demo: what they do, by a fixed seed, and the real HTTP requests that do it.

Each act carries the event that it should become, written down here and not taken from the library: at the
end the two are compared. This room knows the site's addresses, and nothing of tags and doors.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

import httpx

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

PEOPLE = {
    "ann": "sales", "bob": "sales", "chloe": "support", "dan": "support",
    "elif": "support", "farid": "people", "greta": "people", "hugo": "sales",
}  # fmt: skip
SEARCHES = ("python", "team", "data", "aid", "public")
COURSES = (101, 102, 103, 104, 105, 106)


class Fact(NamedTuple):
    """An event as a report should count it; what is absent is None."""

    type: str
    course: str | None
    user: str | None
    entity: str | None


class Act(NamedTuple):
    """One request of one person.

    Attributes:
        person: who.
        method: the HTTP method.
        path: the address within the site.
        tagged: what bears the tags: a span, a span event, structlog, logging; empty for nothing.
        fact: the event that should arrive, None for none.
    """

    person: str
    method: str
    path: str
    tagged: str = ""
    fact: Fact | None = None


def look(person: str) -> Act:
    """Open the front page, of which no event is made."""
    return Act(person, "GET", "/")


def search(person: str, words: str) -> Act:
    """Search for a course."""
    return Act(person, "GET", f"/search?q={words}", "span", Fact("search", None, person, PEOPLE[person]))


def click(person: str, course: int) -> Act:
    """Open a course."""
    fact = Fact("course-click", str(course), person, PEOPLE[person])
    return Act(person, "GET", f"/courses/{course}", "span", fact)


def save(person: str, course: int) -> Act:
    """Put a course on the own list."""
    fact = Fact("course-save", str(course), person, PEOPLE[person])
    return Act(person, "POST", f"/courses/{course}/save", "structlog", fact)


def complete(person: str, course: int) -> Act:
    """Finish a course."""
    fact = Fact("course-complete", str(course), person, PEOPLE[person])
    return Act(person, "POST", f"/courses/{course}/complete", "structlog", fact)


def suggest(person: str, course: int) -> Act:
    """Suggest a course to a colleague."""
    fact = Fact("course-suggest", str(course), person, PEOPLE[person])
    return Act(person, "POST", f"/courses/{course}/suggest", "logging", fact)


def logout(person: str) -> Act:
    """Sign out."""
    return Act(person, "POST", "/logout", "span event", Fact("logout", None, person, PEOPLE[person]))


def mistakes(person: str) -> tuple[Act, Act]:
    """Visit the two views whose tags are wrong: one lacks its course, one has a blank type."""
    lacking = Fact("course-click", None, person, None)
    return Act(person, "GET", "/compulsory", "span", lacking), Act(person, "GET", "/profile", "span")


def first_visit(person: str) -> list[Act]:
    """Use each view of the site once."""
    before = [look(person), search(person, "python"), click(person, 101), save(person, 101)]
    return [*before, complete(person, 101), suggest(person, 101), logout(person)]


def short_visit(person: str) -> list[Act]:
    """Come for one course."""
    chosen = [click(person, 106), save(person, 106), complete(person, 106)]
    return [search(person, "team"), *chosen, logout(person)]


def afternoon(person: str, dice: random.Random) -> Iterator[Act]:
    """Yield what a person does until the logout: looks around, and takes up some of what is found."""
    yield look(person)
    for _ in range(dice.randint(1, 3)):
        yield search(person, dice.choice(SEARCHES))
        for course in dice.sample(COURSES, dice.randint(1, 2)):
            yield click(person, course)
            if dice.random() < 0.7:
                yield save(person, course)
            if dice.random() < 0.5:
                yield complete(person, course)
                if dice.random() < 0.5:
                    yield suggest(person, course)
    yield logout(person)


class Browser:
    """Makes the requests of all people at one site.

    Args:
        site: the address of the site, without a slash at the end.
    """

    def __init__(self, site: str) -> None:
        # trust_env: a proxy of the environment could not reach a site on this machine.
        self._client = httpx.Client(base_url=site, timeout=10.0, trust_env=False)

    def do(self, act: Act) -> None:
        """Make the request of one act.

        Raises:
            httpx.HTTPError: the site did not answer, or not with a success.
        """
        cookie = f"person={act.person}; entity={PEOPLE[act.person]}"
        self._client.request(act.method, act.path, headers={"cookie": cookie}).raise_for_status()

    def __enter__(self) -> Self:
        """Return the browser itself; its connections are closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()
