"""The image's recipe: nothing unpinned, nothing as root, nothing that the context leaves out."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
LAST = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def test_wheels_are_checked_by_hash_and_jars_by_the_pom() -> None:
    assert "pip wheel --no-cache-dir --require-hashes" in DOCKERFILE
    assert "COPY deploy/jars/pom.xml" in DOCKERFILE
    assert "--no-index --no-deps" in LAST


def test_it_runs_as_a_fixed_user_that_is_not_root() -> None:
    assert re.findall(r"^USER (.+)$", LAST, re.MULTILINE) == ["10001:10001"]


def test_it_starts_the_service_and_asks_whether_it_lives() -> None:
    assert 'ENTRYPOINT ["tini", "--", "sluice"]' in LAST
    assert 'CMD ["run"]' in LAST
    assert "/livez" in LAST[LAST.index("HEALTHCHECK") :]


def test_what_it_copies_is_in_the_context() -> None:
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in ignore if line.startswith("!")]
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    for source in " ".join(copies).split():
        assert (ROOT / source).exists(), source
        assert any(source == keep or keep.startswith(f"{source}/") or source.startswith(f"{keep}/") for keep in kept)


def test_every_package_is_copied() -> None:
    packages = re.findall(r"packages = \[(.*?)\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)[0]
    for package in {name.split(".")[0] for name in re.findall(r'"([\w.]+)"', packages)}:
        assert f"COPY {package} {package}\n" in DOCKERFILE
