"""Makes a browser of the npm package that bears one: Chromium's headless shell with its libraries and a font.

    python tests/page/unpack.py PACKAGE.tgz FOLDER

The package is made for machines that have nothing, so this needs no system package and no root: `nox -s page`
fetches it from the npm registry with the npm that pip installs. Chromium is at FOLDER/chromium then.
"""

from __future__ import annotations

import io
import sys
import tarfile
from pathlib import Path

import brotli

FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""


def unpack(package: Path, folder: Path) -> None:
    """Unpack the browser, its libraries and its font from the package into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(package) as archive:

        def part(name: str) -> bytes:
            return brotli.decompress(archive.extractfile(f"package/bin/{name}.br").read())

        for name in ("al2023.tar", "swiftshader.tar", "fonts.tar"):
            with tarfile.open(fileobj=io.BytesIO(part(name))) as inner:
                inner.extractall(folder, filter="data")
        (folder / "fonts.conf").write_text(FONTS.format(folder=folder), encoding="utf-8")
        unfinished = folder / "chromium.part"
        unfinished.write_bytes(part("chromium"))
        unfinished.chmod(0o755)
        unfinished.rename(folder / "chromium")


if __name__ == "__main__":
    unpack(Path(sys.argv[1]), Path(sys.argv[2]).resolve())
