"""URLs in the place of paths: told from paths, and shown without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_visualbias.cli.main import main
from pytest_visualbias.errors import EncoderError, StorageError, UsageError, without_secrets
from pytest_visualbias.spec.model_entries import EmbeddingsModel, TimmModel
from pytest_visualbias.spec.overrides import parse_override
from pytest_visualbias.spec.urls import Url, is_url, miswritten_url, to_path

SECRET = "S3cr3t/of+nobody"


@pytest.mark.parametrize("text", ["s3://b/k", "hf://datasets/u/r", "file:///x", "memory://x"])
def test_a_url_is_one(text: str) -> None:
    assert is_url(text)
    assert to_path(text) == Url(text)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3:/lab/a", "s3://lab/a"),
        ("GS:/lab", "GS://lab"),
        ("file:/home/ada/a", "file:///home/ada/a"),
        (f"s3:/me:{SECRET}@lab/a", "s3://lab/a"),
    ],
)
def test_a_url_that_lacks_a_slash_is_no_folder(text: str, url: str) -> None:
    assert not is_url(text)
    assert SECRET not in str(miswritten_url(text))
    asks = (to_path, lambda text: parse_override("after", f"embeddings:{text}", Path("/p")))
    for ask in asks:
        with pytest.raises(UsageError, match=url):
            ask(text)


def test_the_console_script_refuses_it_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["cache", "info", "--cache", "s3:/lab"]) == 2
    assert "s3://lab" in capsys.readouterr().err
    monkeypatch.setenv("VISUALBIAS_CACHE", "s3:/lab")
    assert main(["cache", "info"]) == 1
    assert "s3://lab" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["s3/a", "s3://a", "x:/a", "C:/a", "runs:/a", "as3:/a", "s3:a"])
def test_what_means_no_url_is_left_alone(text: str) -> None:
    assert miswritten_url(text) is None


@pytest.mark.parametrize("text", ["a/b", "/a", "C:\\a", "C://a", "timm:resnet50", "a:b", "//a", ""])
def test_a_path_is_none(text: str) -> None:
    assert not is_url(text)
    assert to_path(text) == Path(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/run/epoch_*.pt", "s3://bucket/run/epoch_*.pt"),
        (f"sftp://me:{SECRET}@host/a.pt", "sftp://host/a.pt"),
        (f"https://{SECRET.replace('/', '')}@host/a.pt", "https://host/a.pt"),
        (f"https://host/a.pt?X-Amz-Signature={SECRET}", "https://host/a.pt"),
        (f"https://host/a.pt?sig={SECRET}&se=1", "https://host/a.pt"),
        ("https://host:8080/a@b/c.pt", "https://host:8080/a@b/c.pt"),
        ("hf://datasets/user/repo@main/a.pt", "hf://datasets/user/repo@main/a.pt"),
        ("abfs://box@account.dfs.core.windows.net/a", "abfs://box@account.dfs.core.windows.net/a"),
    ],
)
def test_nothing_secret_is_shown(text: str, shown: str) -> None:
    url = Url(text)
    assert str(url) == url.shown == shown
    assert f"{[url]}" == f"[Url({shown!r})]"
    assert SECRET not in str(StorageError(f"{text} is not there"))


def test_a_sentence_about_something_else_that_quotes_a_url_holds_no_secret() -> None:
    text = f"the checkpoint s3://key:{SECRET}@bucket/a and https://h/b?token={SECRET} both"
    assert str(EncoderError(text)) == (
        "the checkpoint s3://bucket/a and https://h/b?token=... both"
    )


@pytest.mark.parametrize(
    "text", ["a@b.org", "no url: here@all", "https://host/a?page=2", "100 % :// @"]
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert without_secrets(text) == text


def test_what_a_run_remembers_of_a_url_shows_no_secret_either() -> None:
    override = parse_override("after", f"https://u:{SECRET}@h/a.pt", Path("/project"))
    assert SECRET not in repr(override)
    assert override.shown == "https://h/a.pt"
    entry = EmbeddingsModel(source="embeddings", path=f"https://u:{SECRET}@h/a.npz")
    assert SECRET not in f"{entry} {entry!r}"
    network = TimmModel(source="timm", name="r", checkpoint=(f"https://u:{SECRET}@h/a.pt",))
    assert SECRET not in f"{network} {network!r}"


def test_an_option_takes_a_url_as_it_is() -> None:
    folder = Path("/project")
    assert parse_override("after", "s3://b/a.pt", folder).what == "s3://b/a.pt"
    stored = parse_override("after", "embeddings:s3://b/a.npz", folder)
    assert (stored.source, stored.what) == ("embeddings", "s3://b/a.npz")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("https://h/a?X-Amz-Date=1&X-Amz-Signature=2", "https://h/a?X-Amz-Date=3"),
        ("https://h/a?sig=1&se=2&sv=3", "https://h/a"),
        ("sftp://me:one@h/a", "sftp://me:two@h/a"),
    ],
)
def test_what_signs_a_url_is_no_part_of_what_it_means(first: str, second: str) -> None:
    assert Url(first).without_signature == Url(second).without_signature


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("https://h/get?keyword=a", "https://h/get?keyword=b"),
        ("s3://b/a?versionId=1", "s3://b/a?versionId=2"),
        ("sftp://me:one@h/a", "sftp://you:one@h/a"),
        ("https://h/a?v=1&sig=2", "https://h/a?v=2&sig=2"),
    ],
)
def test_what_may_mean_another_content_is_another_url(first: str, second: str) -> None:
    assert Url(first).without_signature != Url(second).without_signature


@pytest.mark.parametrize(
    ("text", "is_pattern"),
    [
        ("s3://b/epoch_*.pt", True),
        ("s3://b/epoch_[12].pt", True),
        ("https://h/a.pt?list=*", False),
        ("http://[::1]:80/a.pt", False),
        ("s3://b/a.pt?versionId=1", False),
    ],
)
def test_a_pattern_is_told_from_a_file(text: str, is_pattern: bool) -> None:
    assert Url(text).has_magic == is_pattern


def test_a_path_is_put_below_a_url_before_its_query() -> None:
    assert Url("https://h/a/?v=1") / "b/c.png" == Url("https://h/a/b/c.png?v=1")
    assert Url("s3://bucket") / "a" == Url("s3://bucket/a")
    assert (Url("https://h/a/b.json?v=1").name, Url("s3://b/c.json").suffix) == ("b.json", ".json")
