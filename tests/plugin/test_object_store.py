"""The gate with everything in an object store: a real server on loopback, spoken to by s3fs."""

from __future__ import annotations

import shutil
import threading
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from tests.plugin.conftest import Project, sentences

pytest.importorskip("s3fs", reason="speaks S3; not in every environment")
pytest.importorskip("moto", reason="serves S3 on loopback; not in every environment")

import boto3
import fsspec
import moto.server

from pytest_visualbias.cli.main import main
from pytest_visualbias.models.encoder import _Shipped

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.nightly, pytest.mark.slow, pytest.mark.torch]

OPTIONS = ("after", "stimuli", "cache")
CACHE = "--visualbias-cache=s3://lab/cache"
SECRET = "wJalrXUtnFEMI+K7MDENG+bPxRfiCYzMADEUPSECRET"  # of nobody


@dataclass
class Bucket:
    """A bucket of the server, reached without any code of ours."""

    client: Any
    address: str

    def put(self, key: str, path: Path) -> None:
        self.client.upload_file(str(path), "lab", key)

    def names(self, prefix: str = "") -> list[str]:
        found = self.client.list_objects_v2(Bucket="lab", Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", ())]

    def content(self, key: str) -> bytes:
        found: bytes = self.client.get_object(Bucket="lab", Key=key)["Body"].read()
        return found

    def vectors(self) -> dict[str, bytes]:
        keys = (key for key in self.names("cache/") if key.endswith(".safetensors"))
        return {key: self.content(key) for key in keys}


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = moto.server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAMADEUP")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    client = boto3.client("s3", endpoint_url=server)
    client.create_bucket(Bucket="lab")
    yield Bucket(client=client, address=server)
    for key in Bucket(client=client, address=server).names():
        client.delete_object(Bucket="lab", Key=key)
    client.delete_bucket(Bucket="lab")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


class Refusing(BaseHTTPRequestHandler):
    """Answers everything as S3 answers those whose key it does not know, and repeats the key."""

    def do_GET(self) -> None:
        body = f"<Error><Code>InvalidAccessKeyId</Code><Message>{SECRET}</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{running.server_port}")
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield
        running.shutdown()
        thread.join()


def elsewhere(project: Project) -> None:
    """Forget what this machine keeps, as another one would know nothing."""
    shutil.rmtree(project.path / ".pytest_cache")


def refuse_to_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("a network was loaded")

    monkeypatch.setattr(_Shipped, "open", fail)


def told(project: Project, result: pytest.RunResult) -> str:
    """Return what was shown, having made sure that no secret is in it, nor in any report."""
    text = sentences(result)
    for path in project.path.glob("out.*"):
        text += path.read_text(encoding="utf-8")
    assert SECRET not in text
    return text


@pytest.fixture
def local(networks: Project) -> list[dict[str, Any]]:
    """The results of a run that knows nothing of any store."""
    assert networks.gate().ret == 0
    results: list[dict[str, Any]] = networks.report()["results"]
    elsewhere(networks)
    return results


def test_a_second_machine_embeds_nothing_again_and_says_the_same(
    networks: Project,
    local: list[dict[str, Any]],
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert networks.gate(CACHE).ret == 0
    assert networks.report()["results"] == local
    kept = {key.removeprefix("cache/") for key in bucket.names()}
    there = networks.path / ".pytest_cache/d/visualbias"
    named = {
        path.relative_to(there).as_posix()
        for path in there.rglob("*")
        if path.suffix == ".safetensors"
    }
    assert kept == named, "the same files under the same names"
    assert len(bucket.vectors()) == 2
    elsewhere(networks)
    refuse_to_load(monkeypatch)
    result = networks.gate(CACHE)
    assert result.ret == 0
    assert networks.report()["results"] == local
    assert "and s3://lab/cache" in told(networks, result)


@pytest.mark.nightly
def test_a_warm_machine_asks_the_store_for_no_vectors(
    networks: Project, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert networks.gate(CACHE).ret == 0
    for key in bucket.names():
        bucket.client.delete_object(Bucket="lab", Key=key)
    refuse_to_load(monkeypatch)
    assert networks.gate(CACHE).ret == 0


@pytest.mark.nightly
def test_what_was_damaged_in_the_store_is_dropped_and_computed_again(
    networks: Project, local: list[dict[str, Any]], bucket: Bucket
) -> None:
    assert networks.gate(CACHE).ret == 0
    sound = bucket.vectors()
    first, second = sorted(sound)
    flipped = bytearray(sound[first])
    flipped[-3] ^= 1
    bucket.client.put_object(Bucket="lab", Key=first, Body=bytes(flipped))
    bucket.client.put_object(Bucket="lab", Key=second, Body=sound[second][:-100])
    elsewhere(networks)
    assert networks.gate(CACHE).ret == 0
    assert networks.report()["results"] == local
    # What is computed anew may have another name: safetensors writes metadata in any order.
    names = {key.rpartition("/")[2] for key in bucket.vectors()}
    assert names == {f"{sha256(one).hexdigest()}.safetensors" for one in bucket.vectors().values()}
    assert [key.rpartition("/")[0] for key in sorted(bucket.vectors())] == [
        key.rpartition("/")[0] for key in sorted(sound)
    ]


def test_credentials_that_are_refused_are_one_sentence_without_them(
    networks: Project, bucket: Bucket, refusing: None
) -> None:
    result = networks.gate(CACHE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    shown = told(networks, result).splitlines()[-1]
    assert shown.startswith("ERROR: --visualbias-cache: s3://lab/cache ")
    assert "InvalidAccessKeyId" in shown


@pytest.mark.nightly
def test_a_store_that_does_not_answer_is_one_sentence_soon(
    networks: Project, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    result = networks.gate(CACHE)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    shown = told(networks, result).splitlines()[-1]
    assert shown.startswith("ERROR: --visualbias-cache: s3://lab/cache ")
    assert "EndpointConnectionError" in shown


@pytest.mark.nightly
def test_a_bucket_that_is_not_there_is_no_empty_cache(networks: Project, bucket: Bucket) -> None:
    result = networks.gate("--visualbias-cache=s3://nowhere/cache")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "NoSuchBucket" in told(networks, result)


@pytest.mark.nightly
def test_checkpoints_and_stimuli_come_from_a_bucket_and_stay(
    networks: Project, local: list[dict[str, Any]], bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("before", "after"):
        bucket.put(f"run/{name}.safetensors", networks.path / f"{name}.safetensors")
        (networks.path / f"{name}.safetensors").unlink()
    for path in (networks.path / "stimuli").rglob("*.png"):
        bucket.put(path.relative_to(networks.path).as_posix(), path)
    shutil.rmtree(networks.path / "stimuli")
    given = [
        "--visualbias-before=s3://lab/run/bef*.safetensors",
        "--visualbias-after=s3://lab/run/after.safetensors",
        "--visualbias-stimuli=s3://lab/stimuli",
    ]
    refused = networks.gate(*given, "--visualbias-offline")
    assert refused.ret == 1
    assert "s3://lab/run/after.safetensors" in told(networks, refused)
    assert networks.gate(*given).ret == 0
    found = networks.report()
    assert [without_folders(one) for one in found["results"]] == [
        without_folders(one) for one in local
    ]
    assert [model["trials"][0]["url"] for model in found["models"]] == [
        "s3://lab/run/before.safetensors",
        "s3://lab/run/after.safetensors",
    ]
    assert found["environment"]["overrides"]["after"] == "s3://lab/run/after.safetensors"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert networks.gate(*given, "--visualbias-offline").ret == 0
    assert [one["scores"] for one in networks.report()["results"]] == [
        one["scores"] for one in local
    ]


def without_folders(row: dict[str, Any]) -> dict[str, Any]:
    """Return a result without the folders that its images lie in on this machine."""
    sets = {role: {**one, "folder": ""} for role, one in row["sets"].items()}
    return {**row, "sets": sets}


@pytest.mark.nightly
def test_reports_go_to_a_bucket_and_are_read_there(
    networks: Project, bucket: Bucket, capsys: pytest.CaptureFixture[str]
) -> None:
    result = networks.gate(
        "--visualbias-html=s3://lab/out/page.html", "--visualbias-md=s3://lab/out/run.md"
    )
    assert result.ret == 0
    assert bucket.names("out/") == ["out/page.html", "out/run.md"]
    networks.run("--visualbias", "--visualbias-json=s3://lab/out/run.json")
    assert main(["report", "s3://lab/out/run.json", "--csv", "s3://lab/out/run.csv"]) == 0
    assert bucket.content("out/run.csv").startswith(b"nodeid")
    assert main(["compare", "s3://lab/out/run.json", "s3://lab/out/run.json"]) == 0
    capsys.readouterr()
    assert main(["report", "s3://lab/out/nothing.json"]) == 2
    assert capsys.readouterr().err.startswith("s3://lab/out/nothing.json ")
    for kind in ("json", "csv"):
        written = bucket.content("out/run.json")
        arguments = ["report", "s3://lab/out/run.json", f"--{kind}", "s3://lab/out/run.json"]
        assert main(arguments) == 2, "it is the report that is read"
        assert bucket.content("out/run.json") == written


@pytest.mark.nightly
def test_what_signs_a_url_is_shown_nowhere(networks: Project, bucket: Bucket) -> None:
    bucket.put("after.safetensors", networks.path / "after.safetensors")
    signed = bucket.client.generate_presigned_url(
        "get_object", {"Bucket": "lab", "Key": "after.safetensors"}
    )
    assert "Signature=" in signed
    result = networks.gate(f"--visualbias-after={signed}", "--visualbias-html=out.html", "-vv")
    text = told(networks, result)
    assert result.ret == 0
    assert f"{bucket.address}/lab/after.safetensors" in text
    assert "AKIAMADEUP" not in text
    assert signed.partition("Signature=")[2].partition("&")[0] not in text


@pytest.mark.parametrize(
    "option", ["md", *(pytest.param(one, marks=pytest.mark.nightly) for one in OPTIONS)]
)
def test_a_password_in_a_url_is_shown_nowhere_whatever_the_library_says(
    networks: Project, bucket: Bucket, option: str
) -> None:
    result = networks.gate(f"--visualbias-{option}=s3://someone:{SECRET}@lab/a/b", "-vv")
    assert result.ret in (1, pytest.ExitCode.USAGE_ERROR)
    assert "s3://lab/a/b" in told(networks, result)


@pytest.mark.nightly
def test_the_console_script_fills_shows_and_prunes_a_cache_in_a_bucket(
    networks: Project,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(networks.path)
    url = "s3://lab/cache"
    networks.gate()
    assert bucket.names() == []
    capsys.readouterr()
    assert main(["embed", "bias_specs/x.bias.yaml", "--cache", url]) == 0
    assert "; 0 embedded now" in capsys.readouterr().out
    assert len(bucket.vectors()) == 2, "what lay here already"
    bucket.client.put_object(Bucket="lab", Key="cache/3/mine.txt", Body=b"of somebody else")
    capsys.readouterr()
    assert main(["cache", "info", "--cache", url]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [f"cache at {url}", "2 keys, each a network at a layer"]
    assert main(["cache", "prune", "--cache", url, "--max-size", "100GB"]) == 0
    assert len(bucket.vectors()) == 2
    assert main(["cache", "prune", "--cache", url, "--max-size", "1B"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(f"0 B left at {url}")
    assert bucket.names("cache/") == ["cache/3/mine.txt"]
