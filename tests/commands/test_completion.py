"""The completion of commands by a shell."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = str(Path(sys.executable).with_name("ocm-otel"))


def completed(words: str, current: int) -> list[str]:
    """Return what bash would offer for the word at a place."""
    env = os.environ | {"_OCM_OTEL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(current)}
    done = subprocess.run([PROGRAM], env=env, capture_output=True, text=True, timeout=150, check=False)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_a_shell_completes_commands_and_options() -> None:
    """The commands of `spool`, options and the choices of an option."""
    assert set(completed("ocm-otel spool ", 2)) == {"list", "show", "drain", "retry", "export", "purge"}
    assert "--rate" in completed("ocm-otel replay --r", 2)
    assert completed("ocm-otel replay --format c", 3) == ["csv"]
    assert completed("ocm-otel kafka --encoding otlp_p", 3) == ["otlp_proto"]


def test_the_script_of_a_shell_is_printed() -> None:
    """What the docs say to put into the shell's own file."""
    env = os.environ | {"_OCM_OTEL_COMPLETE": "zsh_source"}
    done = subprocess.run([PROGRAM], env=env, capture_output=True, text=True, timeout=150, check=False)
    assert "_OCM_OTEL_COMPLETE" in done.stdout, done.stderr
