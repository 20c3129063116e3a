"""Creating a file that must not be there yet: of several who try, one wins. What the lease stands on."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from checkpoints import s3


def create(path: str, content: bytes) -> bool:
    """Create a file whole, unless there is one already; whether it was created.

    On a file system by a hard link, which fails where the name is taken, and on S3 by a conditional PUT.
    """
    return s3.create(path, content) if s3.is_on_s3(path) else _by_link(Path(path), content)


def _by_link(path: Path, content: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    whole.write_bytes(content)
    try:
        os.link(whole, path)
    except FileExistsError:
        return False
    else:
        return True
    finally:
        whole.unlink()
