"""Creating a file that must not be there yet: of several who try, one wins. What the lease stands on."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

from checkpoints import s3
from checkpoints.errors import NotExclusive


def create(path: str, content: bytes) -> bool:
    """Create a file whole, unless there is one already; whether it was created.

    On a file system by a hard link, which fails where the name is taken, and on S3 by a conditional PUT.
    """
    return s3.create(path, content) if s3.is_on_s3(path) else _by_link(Path(path), content)


def ensure(root: str) -> None:
    """See that of two files of one name the second is refused here; raises NotExclusive.

    A store that does not know the condition may well take no notice of it.
    """
    probe = f"{root}/.exclusive-{uuid.uuid4().hex}"
    try:
        if create(probe, b"first") and create(probe, b"second"):
            raise NotExclusive(root, "a file was created where there was one already")
    except OSError as error:
        raise NotExclusive(root, f"a hard link can not be made ({error.strerror or error})") from error
    finally:
        s3.remove(probe) if s3.is_on_s3(probe) else Path(probe).unlink(missing_ok=True)


def _by_link(path: Path, content: bytes) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    whole.write_bytes(content)
    try:
        os.link(whole, path)
    except FileExistsError:
        # Over NFS the answer may be lost, and the client asks again: two names say that it was this very file.
        # https://man7.org/linux/man-pages/man2/open.2.html, O_EXCL
        return whole.stat().st_nlink > 1
    else:
        return True
    finally:
        whole.unlink()
