# SPDX-License-Identifier: LGPL-3.0-only
"""The README's recipes for torrent clients, with qBittorrent, Transmission and aria2 themselves."""
import contextlib
import json
import subprocess

import bencode
import pytest
from helpers import clean_environment, wait_until
from readme import Desk, command, require
from test_readme import free_port

QBITTORRENT = """\
[LegalNotice]
Accepted=true

[Preferences]
WebUI\\Address=127.0.0.1
WebUI\\LocalHostAuth=false
WebUI\\Port={port}

[BitTorrent]
Session\\DHTEnabled=false
Session\\LSDEnabled=false
Session\\PeXEnabled=false
Session\\Interface=lo
Session\\Port={peer_port}
"""


@pytest.fixture
def desk(tmp_path, tracker):
    """A Desk, with a torrent in it that names no tracker."""
    found = Desk(tmp_path, tracker)
    path = found.folder / "examples" / "linux.torrent"
    info = bencode.decode(path.read_bytes())[b"info"]
    path.write_bytes(bencode.encode({b"info": info}))
    return found


@contextlib.contextmanager
def running(arguments, folder):
    """A client that runs, in a folder of its own."""
    environment = clean_environment({"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)})
    with open(str(folder / "log"), "w") as log:
        process = subprocess.Popen(
            arguments, env=environment, cwd=str(folder), stdin=subprocess.DEVNULL, stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def urls_of(tracker):
    return {tracker.udp_url, tracker.http_url + "/announce"}


def wait_for_announce(tracker, info_hash):
    """Waits until a client has asked the tracker for a torrent, over UDP or HTTP."""
    wanted = bytes.fromhex(info_hash)
    wait_until(lambda: any(
        record.action == "announce" and wanted in record.fields["info_hashes"]
        for record in tracker.requests
    ))


def test_qbittorrent(desk, tmp_path, tracker):
    require("qbittorrent-nox", "curl", "jq")
    port = free_port()
    profile = tmp_path / "profile"
    config = profile / "qBittorrent" / "config" / "qBittorrent.conf"
    config.parent.mkdir(parents=True)
    config.write_text(QBITTORRENT.format(port=port, peer_port=free_port()))
    desk.names["127.0.0.1:8080"] = "127.0.0.1:{}".format(port)

    def get(path):
        result = desk.run("curl -fsS 'http://127.0.0.1:8080/api/v2/{}'".format(path))
        assert result.code == 0, result.stderr
        return result.stdout

    with running(["qbittorrent-nox", "--profile=" + str(profile)], profile):
        wait_until(
            lambda: desk.run("curl -fs http://127.0.0.1:8080/api/v2/app/version").code == 0, 60
        )
        add = "curl -fsS -F torrents=@examples/linux.torrent http://127.0.0.1:8080/api/v2/{}"
        assert desk.run(add.format("torrents/add")).code == 0
        wait_until(lambda: len(json.loads(get("torrents/info"))) == 1)
        info_hash = json.loads(get("torrents/info"))[0]["hash"]
        result = desk.run(command("bash", "addTrackers"))
        assert result.code == 0, result.stderr
        websocket = "ws://127.0.0.1:{}/".format(tracker.http_port)

        def trackers():
            listed = json.loads(get("torrents/trackers?hash=" + info_hash))
            return {entry["url"] for entry in listed if "://" in entry["url"]}

        wait_until(lambda: trackers() == urls_of(tracker) | {websocket})
        result = desk.run(command("bash", "setPreferences"))
        assert result.code == 0, result.stderr
        preferences = json.loads(get("app/preferences"))
        assert preferences["add_trackers_enabled"] is True
        assert preferences["add_trackers"].split() == [
            tracker.udp_url, tracker.http_url + "/announce", websocket
        ]
        # An empty line after each: each is in a tier of its own.
        assert preferences["add_trackers"].count("\n\n") == 3
        wait_for_announce(tracker, info_hash)


def test_transmission(desk, tmp_path, tracker):
    require("transmission-daemon", "transmission-remote")
    folder = tmp_path / "transmission"
    folder.mkdir()
    address = "127.0.0.1:{}".format(free_port())
    # The README's command speaks to the default port of this machine.
    remote = "transmission-remote {} ".format(address)
    arguments = [
        "transmission-daemon", "--foreground", "--config-dir", str(folder), "--download-dir",
        str(folder), "--port", address.split(":")[1], "--peerport", str(free_port()), "--no-dht",
        "--no-utp", "--no-portmap", "--no-lpd", "--no-auth", "--bind-address-ipv4", "127.0.0.1",
    ]
    with running(arguments, folder):
        wait_until(lambda: desk.run(remote + "--session-info").code == 0, 60)
        assert desk.run(remote + "--add examples/linux.torrent --start-paused").code == 0
        wait_until(lambda: " linux" in desk.run(remote + "--list").stdout)
        line = command("bash", "transmission-remote --torrent")
        result = desk.run(line.replace("transmission-remote ", remote))
        assert result.code == 0, result.stdout + result.stderr
        shown = desk.run(remote + "--torrent all --info-trackers").stdout
    # It shows the host and port of each.
    for url in urls_of(tracker):
        assert url.replace("/announce", "") in shown


def test_aria2(desk, tmp_path, tracker):
    require("aria2c")
    options = "exec aria2c --dir={} --bt-enable-lpd=false --listen-port={} --dht-listen-port={} "
    line = command("bash", "aria2c --bt-tracker").replace(
        "aria2c ", options.format(tmp_path, free_port(), free_port())
    )
    info_hash = desk.run("python3 bencode.py --info-hash examples/linux.torrent").stdout.strip()
    # It asks them one after the other, until one has an answer for it.
    with desk.start(line, HOME=str(tmp_path)):
        wait_for_announce(tracker, info_hash)
