"""``visualbias fetch`` against a real server: what comes, what is said, what is recorded."""

from __future__ import annotations

import contextlib
import io
import json
import re
import urllib.request
from http.client import HTTPMessage
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_visualbias import __version__
from pytest_visualbias.cli.main import main
from pytest_visualbias.stimuli.fetching import addresses
from pytest_visualbias.stimuli.fetching.addresses import _Redirects
from pytest_visualbias.stimuli.fetching.meter import Bar
from pytest_visualbias.stimuli.fetching.outcomes import RefusedError
from tests.stimuli.fetching.conftest import Reply, png, serving, sha256

if TYPE_CHECKING:
    from pathlib import Path

    from tests.stimuli.fetching.conftest import Place

TRUSTED = (
    "  verified by the manifest: 0; trusted as they first came: 2 (their sha256 is in "
    "FETCHED.json, and another is refused later)"
)
UNLISTED = "nothing is known of the images of own; list them in a file and give it with --manifest"
ONE, TWO = "sets/x/1.png", "sets/x/2.png"


def ledger(place: Place) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((place.folder / "FETCHED.json").read_text())
    return found


def test_all_files_come_and_the_record_says_what_and_from_where(place: Place) -> None:
    one, two = place.serve(ONE, TWO)
    status, said, complaints = place.fetch()
    assert (status, complaints) == (0, "")
    assert place.files() == {ONE: one, TWO: two}
    found = ledger(place)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found["accepted"])
    assert {key: found[key] for key in ("version", "suite", "licence", "citation", "due")} == {
        "version": 1,
        "suite": "own",
        "licence": "CC0 for the squares",
        "citation": "A. Painter. Squares. 2020.",
        "due": [],
    }
    record = found["files"][ONE]
    assert record.pop("date") >= found["accepted"]
    assert record == {
        "url": place.server.url(ONE),
        "came_from": None,
        "sha256": sha256(one),
        "size": len(one),
        "format": "PNG",
        "checked": "first use",
        "tool": f"pytest-visualbias {__version__}",
    }
    size = f"{(len(one) + len(two)) / 1000:.1f} kB"
    assert said.splitlines() == [
        "own: Squares",
        "  licence: CC0 for the squares",
        "  citation: A. Painter. Squares. 2020.",
        "  source: https://example.org/squares",
        f"  from: {place.server.address}",
        f"  to: {place.folder}",
        f"own: 2 of 2 files are there ({size}), 2 of them fetched now",
        TRUSTED,
    ]


def test_a_second_time_nothing_is_asked_for(place: Place) -> None:
    place.serve(ONE, TWO)
    place.fetch()
    before = ledger(place)
    place.server.requests.clear()
    status, said, _ = place.fetch(accept=False)
    assert status == 0
    assert place.server.requests == []
    assert "2 of 2 files are there" in said
    assert "0 of them fetched now" in said
    assert ledger(place) == before


def test_what_the_manifest_knows_is_verified_by_it(place: Place) -> None:
    place.serve(ONE, known=True)
    status, said, _ = place.fetch()
    assert status == 0
    assert "verified by the manifest: 1; trusted as they first came: 0" in said
    assert ledger(place)["files"][ONE]["checked"] == "manifest"


class TestLicence:
    def test_nobody_fetches_without_accepting_it(self, place: Place) -> None:
        place.serve(ONE)
        status, said, complaints = place.fetch(accept=False)
        assert status == 2
        assert "  licence: CC0 for the squares\n" in said
        assert complaints == (
            "own: nothing is fetched before the licence is accepted; read it above and add "
            "--accept-licence\n"
        )
        assert place.server.requests == []
        assert sorted(path.name for path in place.folder.iterdir()) == ["own.suite.yaml", "own.tsv"]

    @pytest.mark.parametrize(("answer", "status"), [("y", 0), ("Yes", 0), ("", 2), ("no", 2)])
    def test_on_a_terminal_it_is_asked(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
    ) -> None:
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        monkeypatch.setattr("builtins.input", lambda question: answer)
        place.serve(ONE)
        assert place.fetch(accept=False)[0] == status
        assert set(place.files()) == ({ONE} if status == 0 else set())

    def test_another_licence_is_to_be_accepted_again(self, place: Place) -> None:
        place.serve(ONE)
        place.fetch()
        suite = place.folder / "own.suite.yaml"
        suite.write_text(suite.read_text().replace("CC0 for", "GPL for"))
        assert place.fetch(accept=False)[0] == 2
        assert ledger(place)["licence"] == "CC0 for the squares"

    def test_a_suite_that_says_none_is_no_free_one(self, place: Place) -> None:
        suite = place.folder / "own.suite.yaml"
        suite.write_text(suite.read_text().replace("licence: CC0 for the squares\n", ""))
        place.serve(ONE)
        status, said, _ = place.fetch(accept=False)
        assert status == 2
        assert "licence: the suite says none; find out before you use the images" in said


class TestRefusals:
    def refused(self, place: Place, path: str = ONE, *arguments: str) -> str:
        """Return why a file is refused, having made sure that nothing of it is there."""
        status, _, complaints = place.fetch("--retries=1", *arguments)
        assert status == 1
        assert path not in place.files()
        assert path in ledger(place)["due"] or path in ledger(place)["gone"]
        (line,) = complaints.splitlines()
        start = f"own: {path}: "
        assert line.startswith(start)
        return line.removeprefix(start).replace(place.server.url(path), "URL")

    def test_other_bytes_than_the_manifest_says(self, place: Place) -> None:
        (right,) = place.serve(ONE, known=True)
        place.server.files[ONE] = wrong = right[:-1] + b"x"
        assert self.refused(place) == (
            f"has sha256 {sha256(wrong)}, and the manifest says {sha256(right)} (URL); correct "
            "the manifest, or try a --mirror"
        )

    @pytest.mark.parametrize("more", [-100, 100])
    def test_another_size_than_the_manifest_says(self, place: Place, more: int) -> None:
        (right,) = place.serve(ONE)
        size = len(right) + more
        place.write(f"{ONE}\t{place.server.url(ONE)}\t-\t{size}")
        said = self.refused(place)
        or_more = " or more" if more < 0 else ""
        assert said.startswith(f"has {len(right)} bytes{or_more}, not {size} (URL); ")

    def test_more_bytes_than_the_manifest_says_from_a_server_that_does_not_say(
        self, place: Place
    ) -> None:
        (right,) = place.serve(ONE)
        place.write(f"{ONE}\t{place.server.url(ONE)}\t-\t100")
        place.server.always[ONE] = Reply(has_length=False)
        assert re.match(r"has \d+ bytes or more, not 100 \(URL\); ", self.refused(place))
        assert place.parts() == []
        assert len(right) > 100

    def test_more_than_any_photograph_has_is_not_even_begun(self, place: Place) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(length=300_000_000)
        assert self.refused(place) == (
            "has more than 200.0 MB, too much for an image (URL); correct the manifest, or try a "
            "--mirror"
        )
        assert [path.stat().st_size for path in place.parts()] == []

    def test_less_than_the_server_announced(self, place: Place) -> None:
        (right,) = place.serve(ONE)
        place.server.always[ONE] = Reply(length=len(right) + 50, honours_range=False)
        assert self.refused(place) == (
            f"broke off after {len(right)} of {len(right) + 50} bytes (URL); try again later"
        )

    def test_more_than_the_server_announced(self, place: Place) -> None:
        """What a client then takes is the start of an image only."""
        (right,) = place.serve(ONE)
        place.server.always[ONE] = Reply(length=len(right) - 500)
        assert "cannot be decoded (" in self.refused(place)

    def test_what_breaks_off_where_nothing_says_so(self, place: Place) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(has_length=False, breaks_after=1000)
        assert "cannot be decoded (" in self.refused(place)
        assert len(place.server.asked(ONE)) == 2, "it may be whole the next time"

    @pytest.mark.parametrize(
        ("body", "what"),
        [
            (b"", "is empty"),
            (b"  <!DOCTYPE html><p>Sign in", "is a page of HTML or XML, not an image"),
            (b'<?xml version="1.0"?><Error>', "is a page of HTML or XML, not an image"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
                "is a Git LFS pointer, not the image",
            ),
            (b"%!PS-Adobe-3.0 EPSF-3.0\n", "is not an image"),
            (b"\x89PNG\r\n\x1a\nnonsense", "cannot be decoded (Truncated File Read)"),
        ],
    )
    def test_what_is_no_image(self, place: Place, body: bytes, what: str) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(body=body)
        assert self.refused(place) == f"{what} (URL); correct the manifest, or try a --mirror"

    @pytest.mark.parametrize(("status", "is_gone"), [(403, False), (404, True), (410, True)])
    def test_what_a_server_does_not_give(self, place: Place, status: int, is_gone: bool) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(status=status, body=b"")
        assert f"the server says {status} " in self.refused(place)
        assert (ONE in ledger(place)["gone"]) is is_gone
        assert len(place.server.asked(ONE)) == 1, "asking again would bring the same"

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_server_in_trouble_is_asked_again_and_again(self, place: Place, status: int) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(status=status, body=b"")
        status_line, _, complaints = place.fetch("--retries=3")
        assert status_line == 1
        assert f"the server says {status} " in complaints
        assert len(place.server.asked(ONE)) == 4

    @pytest.mark.parametrize(
        "target", ["file:///etc/passwd", "ftp://127.0.0.1/x.png", "data:image/png;base64,AAAA"]
    )
    def test_a_redirect_away_from_the_web(self, place: Place, target: str) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(status=302, headers={"Location": target}, body=b"")
        said = self.refused(place)
        assert "redirect" in said.lower()
        assert len(place.server.asked(ONE)) == 1

    @pytest.mark.parametrize(
        "inside", ["127.0.0.1", "10.0.0.8", "169.254.169.254", "::1", "fe80::1", "100.64.0.1"]
    )
    def test_a_redirect_from_outside_into_a_private_network(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, inside: str
    ) -> None:
        """The names are those of a fake: the server of the test is outside, the target is not."""
        hosts = {"127.0.0.1": "93.184.215.14", "inside.example": inside}
        # Of this module alone: connections are made as ever, to the loopback.
        names = SimpleNamespace(getaddrinfo=lambda host, *_: [(0, 0, 0, "", (hosts[host], 0))])
        monkeypatch.setattr(addresses, "socket", names)
        addresses._is_private.cache_clear()
        place.serve(ONE)
        target = "http://inside.example/x.png"
        place.server.always[ONE] = Reply(status=302, headers={"Location": target}, body=b"")
        assert "redirected to a private address" in self.refused(place)
        addresses._is_private.cache_clear()

    def test_a_redirect_to_itself(self, place: Place) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(status=302, headers={"Location": f"/{ONE}"}, body=b"")
        assert "redirect" in self.refused(place)

    def test_what_comes_compressed(self, place: Place) -> None:
        place.serve(ONE)
        place.server.always[ONE] = Reply(headers={"Content-Encoding": "gzip"})
        assert self.refused(place).startswith("came compressed, unasked (URL); ")

    @pytest.mark.parametrize("what", ["link", "dead link", "folder", "linked folder"])
    def test_what_is_in_the_way(self, place: Place, tmp_path: Path, what: str) -> None:
        place.serve(ONE)
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        path = place.folder / ONE
        if what == "linked folder":
            place.sets.symlink_to(elsewhere)
        else:
            path.parent.mkdir(parents=True)
            if what == "folder":
                path.mkdir()
            else:
                path.symlink_to(place.manifest if what == "link" else tmp_path / "nothing")
        manifest = place.manifest.read_text()
        status, _, complaints = place.fetch()
        assert status == 1
        assert re.fullmatch(
            rf"own: {ONE}: \S+ is a (link; remove it|folder; move it away)\n", complaints
        )
        assert list(elsewhere.iterdir()) == []
        assert place.manifest.read_text() == manifest
        assert place.server.requests == []


@pytest.mark.parametrize(
    ("old", "new", "is_safe"),
    [("https", "http", False), ("http", "https", True), ("https", "https", True)],
)
def test_a_redirect_never_leaves_https(old: str, new: str, is_safe: bool) -> None:
    redirects = _Redirects()
    request = urllib.request.Request(f"{old}://192.0.2.7/x.png", headers={"Range": "bytes=5-"})
    answer = (io.BytesIO(), 302, "Found", HTTPMessage(), f"{new}://192.0.2.7/y.png")
    if not is_safe:
        with pytest.raises(RefusedError, match="is redirected from https to http, which is not"):
            redirects.redirect_request(request, *answer)
        return
    following = redirects.redirect_request(request, *answer)
    assert following is not None
    assert following.full_url == f"{new}://192.0.2.7/y.png"
    assert following.get_header("Range") == "bytes=5-"


class TestFirstUse:
    def test_what_comes_later_must_be_what_came_first(self, place: Place) -> None:
        (first,) = place.serve(ONE)
        place.fetch()
        date = ledger(place)["files"][ONE]["date"]
        (place.folder / ONE).unlink()
        place.server.files[ONE] = other = png(77)
        status, _, complaints = place.fetch()
        assert status == 1
        assert complaints == (
            f"own: {ONE}: is other than what was first fetched on {date} (sha256 {sha256(other)}, "
            f"was {sha256(first)}) ({place.server.url(ONE)}); find out why, and remove its entry "
            "from FETCHED.json to take it\n"
        )
        assert place.files() == {}
        place.server.files[ONE] = first
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: first}

    def test_an_entry_that_is_removed_from_the_record_is_trusted_anew(self, place: Place) -> None:
        place.serve(ONE)
        place.fetch()
        (place.folder / ONE).unlink()
        place.server.files[ONE] = png(77)
        changed = ledger(place)
        del changed["files"][ONE]
        (place.folder / "FETCHED.json").write_text(json.dumps(changed))
        assert place.fetch()[0] == 0
        assert place.files() == {ONE: png(77)}

    def test_a_file_that_was_changed_here_is_told_and_left(self, place: Place) -> None:
        place.serve(ONE)
        place.fetch()
        (place.folder / ONE).write_bytes(png(77))
        status, said, complaints = place.fetch()
        assert status == 1
        assert f"own: {ONE}: was changed since " in complaints
        assert "0 of 1 files are there" in said
        assert place.files() == {ONE: png(77)}

    def test_a_manifest_that_learns_another_digest_wins(self, place: Place) -> None:
        place.serve(ONE)
        place.fetch()
        place.write(f"{ONE}\t{place.server.url(ONE)}\t{sha256(png(77))}\t-")
        status, _, complaints = place.fetch()
        assert status == 1
        assert complaints == (
            f"own: {ONE}: is not what the manifest says; remove it, and fetch it again\n"
        )

    def test_a_manifest_that_learns_the_digest_verifies_what_is_there(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.fetch()
        place.write(f"{ONE}\t{place.server.url(ONE)}\t{sha256(one)}\t{len(one)}")
        before = ledger(place)["files"][ONE]
        assert place.fetch()[0] == 0
        assert ledger(place)["files"][ONE] == {**before, "checked": "manifest"}

    def test_what_was_there_before_is_kept_and_said_to_be_of_unknown_origin(
        self, place: Place
    ) -> None:
        place.serve(ONE, TWO)
        (place.sets / "x").mkdir(parents=True)
        (place.folder / ONE).write_bytes(png(5))
        status, said, _ = place.fetch()
        assert status == 0
        assert "  there before, of unknown origin, and recorded as they are: 1\n" in said
        assert place.files()[ONE] == png(5)
        assert ledger(place)["files"][ONE]["url"] is None
        assert [path for path, _ in place.server.requests] == [TWO]

    def test_what_was_there_before_and_is_no_image_is_refused(self, place: Place) -> None:
        place.serve(ONE)
        (place.sets / "x").mkdir(parents=True)
        (place.folder / ONE).write_text("<html>")
        status, _, complaints = place.fetch()
        assert status == 1
        assert complaints == (
            f"own: {ONE}: is a page of HTML or XML, not an image; remove it, and fetch it again\n"
        )

    def test_another_format_than_the_name_says_is_told(self, place: Place) -> None:
        place.serve("sets/x/1.jpg", TWO)
        status, said, _ = place.fetch()
        assert status == 0
        assert "of another image format than their names say: 1, such as sets/x/1.jpg;" in said


class TestChoices:
    def test_a_file_without_a_url_is_told_with_what_its_set_has(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        place.write(
            f"{ONE}\t{place.server.url(ONE)}\t-\t-", f"{TWO}\t-\t-\t-\tmay be missing upstream"
        )
        status, said, complaints = place.fetch()
        assert (status, complaints) == (0, "")
        assert said.endswith(
            f"  no URL is known of {TWO} (may be missing upstream); sets/x has 1 of 2 images "
            "without it\n"
        )
        assert place.files() == {ONE: one}
        assert ledger(place)["due"] == []

    @pytest.mark.parametrize(
        ("only", "wanted"),
        [(["sets/y"], {"sets/y/1.png"}), (["sets/x", "sets/y"], {ONE, "sets/y/1.png"})],
    )
    def test_some_sets_only(self, place: Place, only: list[str], wanted: set[str]) -> None:
        place.serve(ONE, "sets/y/1.png", "sets/yz/1.png")
        assert place.fetch(*(f"--only={name}" for name in only))[0] == 0
        assert set(place.files()) == wanted

    def test_a_folder_above_sets_is_all_of_them(self, place: Place) -> None:
        place.serve(ONE, "sets/y/1.png", "other/1.png")
        assert place.fetch("--only=sets")[0] == 0
        assert set(place.files()) == {ONE, "sets/y/1.png"}

    def test_a_rehearsal_says_what_would_come_and_does_nothing(self, place: Place) -> None:
        one, two = place.serve(ONE, TWO, known=True)
        with place.manifest.open("a") as stream:
            stream.write(f"sets/y/1.png\t{place.server.url('sets/y/1.png')}\t-\t-\n")
        status, said, _ = place.fetch("--dry-run", accept=False)
        assert status == 0
        size = (len(one) + len(two)) / 1000
        assert said.splitlines()[-2:] == [
            f"  0 of 3 files are there, 3 to fetch ({size:.1f} kB, and 1 of unknown size)",
            "  for 1 of these no sha256 is known: what comes first would be trusted",
        ]
        assert place.server.requests == []
        assert sorted(path.name for path in place.folder.iterdir()) == ["own.suite.yaml", "own.tsv"]

    def test_a_rehearsal_names_no_number_of_bytes_where_none_is_known(self, place: Place) -> None:
        place.serve(ONE, TWO)
        assert "2 to fetch (of unknown size)\n" in place.fetch("--dry-run", accept=False)[1]

    def test_a_rehearsal_is_silent_on_unknown_sizes_where_all_are_known(self, place: Place) -> None:
        one, two = place.serve(ONE, TWO, known=True)
        said = place.fetch("--dry-run", accept=False)[1]
        assert f"2 to fetch ({(len(one) + len(two)) / 1000:.1f} kB)\n" in said

    @pytest.mark.parametrize("way", ["option", "variable"])
    def test_offline_what_is_there_is_verified_and_what_is_not_is_named(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        place.serve(ONE, TWO)
        place.fetch()
        (place.folder / TWO).unlink()
        place.server.requests.clear()
        if way == "variable":
            monkeypatch.setenv("VISUALBIAS_OFFLINE", "1")
        arguments = ["--offline"] if way == "option" else []
        status, said, complaints = place.fetch(*arguments, accept=False)
        assert status == 1
        assert complaints == f"own: {TWO}: is not there; fetch it without --offline\n"
        assert "1 of 2 files are there" in said
        assert place.server.requests == []

    def test_a_mirror_takes_the_place_of_scheme_and_host(self, place: Place) -> None:
        place.write(f"{ONE}\thttps://nowhere.invalid/a/{ONE}?raw=1\t-\t-")
        place.server.files[f"mine/a/{ONE}?raw=1"] = png(1)
        assert place.fetch(f"--mirror={place.server.url('mine/')}")[0] == 0
        assert place.files() == {ONE: png(1)}
        assert ledger(place)["files"][ONE]["url"] == place.server.url(f"mine/a/{ONE}?raw=1")

    def test_a_mirror_takes_the_place_of_a_prefix(self, place: Place) -> None:
        place.serve(ONE)
        place.write(
            f"{ONE}\t{place.server.url(ONE)}\t-\t-",
            f"{TWO}\thttps://nowhere.invalid/deep/{TWO}\t-\t-",
        )
        place.server.files[TWO] = png(2)
        mirror = f"--mirror=https://nowhere.invalid/deep/={place.server.address}/"
        assert place.fetch(mirror)[0] == 0
        assert set(place.files()) == {ONE, TWO}

    @pytest.mark.parametrize("way", ["option", "environment"])
    def test_a_proxy_is_asked_for_whole_urls(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, way: str
    ) -> None:
        url = f"http://nowhere.invalid/{ONE}"
        place.write(f"{ONE}\t{url}\t-\t-")
        with serving() as proxy:
            proxy.files[url] = png(1)
            if way == "environment":
                monkeypatch.setenv("http_proxy", proxy.address)
            arguments = [f"--proxy={proxy.address}"] if way == "option" else []
            assert place.fetch(*arguments)[0] == 0
        assert place.files() == {ONE: png(1)}
        assert ledger(place)["files"][ONE]["url"] == url

    def test_a_redirect_is_followed_and_recorded(self, place: Place) -> None:
        (one,) = place.serve(ONE)
        for status, path in ((302, "a"), (308, "b")):
            target = {"Location": place.server.url(path if status == 302 else "c")}
            place.server.always[ONE if status == 302 else "a"] = Reply(
                status=status, headers=target, body=b""
            )
        place.server.files["c"] = one
        assert place.fetch()[0] == 0
        assert ledger(place)["files"][ONE]["came_from"] == place.server.url("c")
        assert place.files() == {ONE: one}

    def test_another_folder_is_named_with_how_specs_find_it(
        self, place: Place, tmp_path: Path
    ) -> None:
        place.serve(ONE)
        data = tmp_path / "data"
        status, said, _ = place.fetch(f"--data={data}")
        assert status == 0
        assert (data / "own" / ONE).is_file()
        assert place.files() == {}
        assert said.endswith(
            f"  specs look there with VISUALBIAS_DATA={data}, or stimuli: in the spec\n"
        )

    def test_the_folder_of_another_suite_is_left_alone(self, place: Place) -> None:
        place.serve(ONE)
        place.fetch()
        (place.folder / "own.suite.yaml").rename(place.folder / "two.suite.yaml")
        suite = str(place.folder / "two.suite.yaml")
        manifest = f"--manifest={place.manifest}"
        assert main(["fetch", suite, manifest, "--accept-licence"]) == 1
        assert place.capsys.readouterr().err == (
            f"{place.folder}: holds what was fetched for the suite 'own'; choose another folder "
            "with --data\n"
        )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only=sets/z"], "--only: there is no set 'sets/z'; did you mean 'sets/x'?"),
        (["--mirror=ftp://x/"], "--mirror: 'ftp://x/' is not of http or https; give such a URL"),
        (["--mirror="], "--mirror: is empty; give a URL, or PREFIX=URL"),
        (
            ["--mirror=http://a.example/=http://b.example/"],
            "--mirror: no URL begins with 'http://a.example/'; correct it",
        ),
        (
            ["--proxy=socks5://me:secret@x:1"],
            "--proxy: is no URL such as http://proxy.example:3128; correct it",
        ),
    ],
)
def test_an_option_that_means_nothing_is_a_wrong_call(
    place: Place, arguments: list[str], sentence: str
) -> None:
    place.serve(ONE)
    status, _, complaints = place.fetch(*arguments)
    assert (status, complaints) == (2, f"{sentence}\n")


@pytest.mark.parametrize("argument", ["--timeout=0", "--timeout=nan", "--jobs=0", "--retries=-1"])
def test_a_number_that_means_nothing_is_a_wrong_call(place: Place, argument: str) -> None:
    with pytest.raises(SystemExit) as left:
        place.fetch(argument)
    assert left.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["iaet"], "there is no suite 'iaet'; did you mean 'ieat'? (a path ends in '.suite.yaml')"),
        (
            ["sb-ssl", "--manifest=x.tsv"],
            "--manifest: sb-ssl has no images but those of ieat; fetch that",
        ),
        (
            ["own.suite.yaml"],
            UNLISTED,
        ),
    ],
)
def test_a_suite_that_cannot_be_fetched_is_a_wrong_call(
    place: Place, monkeypatch: pytest.MonkeyPatch, arguments: list[str], sentence: str
) -> None:
    monkeypatch.chdir(place.folder)
    assert main(["fetch", *arguments]) == 2
    assert place.capsys.readouterr().err == f"{sentence}\n"


def test_a_suite_without_images_of_its_own_fetches_those_it_uses(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VISUALBIAS_DATA", str(tmp_path))
    assert main(["fetch", "sb-ssl", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("ieat: iEAT, the 39 tests of Steed and Caliskan (2021)\n")
    assert f"  to: {tmp_path / 'ieat'}\n" in said
    assert "  0 of 826 files are there, 825 to fetch (of unknown size)" in said


@pytest.mark.parametrize("suite", ["ieat", "ranjit-coco", "ranjit-openimages"])
def test_the_manifests_that_ship_are_safe_to_follow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, suite: str
) -> None:
    monkeypatch.setenv("VISUALBIAS_DATA", str(tmp_path))
    assert main(["fetch", suite, "--dry-run"]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["{", "{}", '{"version": 2}'])
def test_a_record_that_cannot_be_read_is_left_and_told(place: Place, text: str) -> None:
    place.serve(ONE)
    path = place.folder / "FETCHED.json"
    path.write_text(text)
    status, _, complaints = place.fetch()
    assert status == 1
    assert complaints.startswith(f"{path}: is no record of fetched files (")
    assert complaints.endswith("; restore it, or move it away to trust the files as they are\n")
    assert path.read_text() == text


def test_what_a_server_says_cannot_write_on_the_terminal(place: Place) -> None:
    place.serve(ONE)
    location = "http://127.0.0.1:1/\x1b[31mred"
    place.server.always[ONE] = Reply(status=302, headers={"Location": location}, body=b"")
    status, said, complaints = place.fetch("--retries=0")
    assert status == 1
    assert "\x1b" not in said + complaints


def test_on_a_terminal_a_bar_counts_files_and_bytes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    with contextlib.closing(Bar("own")) as bar:
        bar.begin(3)
        for size in (1500, 1500, 0):
            bar.step(size)
    shown = capsys.readouterr().err
    assert "3/3" in shown
    assert "3.0 kB" in shown


def test_elsewhere_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.closing(Bar("own")) as bar:
        bar.begin(1)
        bar.step(10)
    assert capsys.readouterr() == ("", "")
