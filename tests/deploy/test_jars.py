"""A set of jars is what its pom says: fetched once, replaced whole, never half there."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from deploy import build_folder, jars
from deploy.jars.__main__ import main

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>test</groupId><artifactId>test</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>{dependencies}</dependencies>
  <build><pluginManagement><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId>
    <artifactId>maven-dependency-plugin</artifactId>
    <version>3.8.1</version>
  </plugin></plugins></pluginManagement></build>
</project>
"""
SLF4J = ("org.slf4j", "slf4j-api", "1.7.36")
POOL = ("org.apache.commons", "commons-pool2", "2.12.1")


def write_pom(path: Path, *dependencies: tuple[str, str, str]) -> Path:
    parts = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
    path.write_text(POM.format(dependencies="".join(parts.format(*each) for each in dependencies)))
    return path


def names(folder: Path) -> set[str]:
    return {jar.name for jar in folder.glob("*.jar")}


@pytest.fixture(scope="module")
def resolved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pom and what Maven made of it: each test gets a copy."""
    home = tmp_path_factory.mktemp("resolved")
    jars.resolve_pom(write_pom(home / "pom.xml", SLF4J), home / "jars" / "some")
    return home


@pytest.fixture
def pom(resolved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(resolved, tmp_path / "copy") / "pom.xml"


@pytest.fixture
def folder(pom: Path) -> Path:
    return pom.parent / "jars" / "some"


@pytest.fixture
def no_maven(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")


def test_the_folder_holds_what_the_pom_names(folder: Path) -> None:
    assert names(folder) == {"slf4j-api-1.7.36.jar"}


def test_nothing_but_the_folder_is_left_behind(folder: Path) -> None:
    assert {path.name for path in folder.parent.iterdir()} == {"some", ".some.lock"}


def test_an_unchanged_pom_starts_no_maven(folder: Path, pom: Path, no_maven: None) -> None:
    assert jars.resolve_pom(pom, folder) == folder


def test_a_changed_pom_replaces_the_jars_whole(folder: Path, pom: Path) -> None:
    jars.resolve_pom(write_pom(pom, POOL), folder)
    assert names(folder) == {"commons-pool2-2.12.1.jar"}


def test_a_jar_that_was_deleted_is_fetched_again(folder: Path, pom: Path) -> None:
    (folder / "slf4j-api-1.7.36.jar").unlink()
    jars.resolve_pom(pom, folder)
    assert names(folder) == {"slf4j-api-1.7.36.jar"}


def test_a_damaged_stamp_counts_as_none(folder: Path, pom: Path) -> None:
    (folder / jars.STAMP).write_text("[]")
    assert names(jars.resolve_pom(pom, folder)) == {"slf4j-api-1.7.36.jar"}


def test_a_missing_maven_is_named_with_its_install_line(folder: Path, pom: Path, no_maven: None) -> None:
    with pytest.raises(jars.MavenMissingError, match="apt-get install maven"):
        jars.resolve_pom(write_pom(pom, POOL), folder)
    assert names(folder) == {"slf4j-api-1.7.36.jar"}


def test_a_failing_maven_is_quoted_and_changes_nothing(folder: Path, pom: Path) -> None:
    write_pom(pom, ("org.slf4j", "slf4j-api", ""))
    with pytest.raises(jars.MavenFailedError) as failure:
        jars.resolve_pom(pom, folder)
    assert "'dependencies.dependency.version' for org.slf4j:slf4j-api" in str(failure.value)
    assert str(pom) in str(failure.value)
    assert names(folder) == {"slf4j-api-1.7.36.jar"}


def test_a_pom_that_names_no_jar_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(jars.MavenFailedError):
        jars.resolve_pom(write_pom(tmp_path / "pom.xml"), tmp_path / "jars")


def test_an_unknown_set_is_refused_with_those_that_exist() -> None:
    with pytest.raises(jars.UnknownJarSetError, match="service, s3, embedded"):
        jars.resolve("servce")  # type: ignore[arg-type]


def test_the_build_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_BUILD_DIR", str(tmp_path / "elsewhere"))
    assert build_folder() == tmp_path / "elsewhere"


def test_the_service_and_the_embedded_stack_have_a_set_each() -> None:
    assert any(name.startswith("delta-spark_4.1_2.13-") for name in names(jars.resolve("service")))
    assert any(name.startswith("debezium-connector-postgres-") for name in names(jars.resolve("embedded")))


def test_the_sets_for_spark_bring_nothing_that_pyspark_ships() -> None:
    import pyspark

    shipped = {name.rsplit("-", 1)[0] for name in names(Path(pyspark.__file__).parent / "jars")}
    for name in ("service", "s3"):
        assert not {jar.rsplit("-", 1)[0] for jar in names(jars.resolve(name))} & shipped


def test_the_set_for_s3_has_what_is_built_of_its_sources() -> None:
    with zipfile.ZipFile(jars.resolve("s3") / "sluice-s3-1.jar") as built:
        assert "sluice/ConditionalLogStore.class" in built.namelist()


def test_a_changed_source_is_built_anew(tmp_path: Path) -> None:
    home = shutil.copytree(jars.POMS["s3"].parent, tmp_path / "s3")
    before = jars._fingerprint(home / "pom.xml")
    source = next((home / "src").rglob("*.java"))
    source.write_text(source.read_text() + "\n")
    assert jars._fingerprint(home / "pom.xml") != before


def test_the_command_resolves_the_named_sets(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["service"]) == 0
    assert capsys.readouterr().out == f"service: {build_folder() / 'jars' / 'service'}\n"


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["nope"]) == 1
    assert main([]) == 2
    assert "no set of jars named 'nope'" in capsys.readouterr().err
