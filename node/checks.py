"""What is wrong with settings that are each sound: files, folders, contradictions."""

from __future__ import annotations

import shutil
import ssl
import tempfile
from collections import Counter
from importlib import util
from pathlib import Path

from .box import WEIGHTS, AbdoboxError, model_folder, niivue
from .settings import Settings
from .tls import client_context, server_context


def problems(settings: Settings) -> list[str]:
    """One line for each fault; none where the node may start."""
    return [
        *_peer_problems(settings),
        *_store_problems(settings),
        *_tls_problems(settings),
        *_work_problems(settings),
    ]


def _peer_problems(settings: Settings) -> list[str]:
    found = []
    if not settings.allow:
        found.append(
            "allow: nobody may send; name senders as AET@address, AET@network/bits or AET@host"
        )
    seen = Counter(one.aet for one in settings.destinations)
    twice = [aet for aet, count in seen.items() if count > 1]
    if twice:
        found.append(f"send: {', '.join(twice)} is named twice; give each destination its AE title")
    if settings.stow.url and util.find_spec("dicomweb_client") is None:
        found.append("stow.url: dicomweb-client is not installed; pip install dicomweb-client")
    elif settings.stow.url and not _is_dicomweb(settings.stow.url):
        found.append("stow.url: dicomweb-client cannot use it; give http(s)://HOST[:PORT]/PATH")
    if util.find_spec("pynetdicom") is None:
        found.append("pynetdicom is not installed; pip install abdobox[node]")
    return found


def _is_dicomweb(url: str) -> bool:
    from dicomweb_client.api import DICOMwebClient

    try:
        DICOMwebClient(url)
    except ValueError:
        return False
    return True


def _store_problems(settings: Settings) -> list[str]:
    if not settings.store:
        return ["store: there is no folder for the spool; name one by --store"]
    folder = settings.store_folder
    if not folder.is_dir():
        return [f"store: {folder}: is no folder; make it, or mount it"]
    try:
        with tempfile.TemporaryFile(dir=folder):
            whole = shutil.disk_usage(folder).total
    except OSError as error:
        return [f"store: {folder}: cannot be written to ({error.strerror}); check its permissions"]
    if whole <= settings.spool.min_free_bytes:
        return [f"spool.min_free_bytes: the whole disk of {folder} has {whole}; give less"]
    return []


def _tls_problems(settings: Settings) -> list[str]:
    tls = settings.tls
    if not (tls.certificate or tls.key or tls.ca):
        return []
    if not (tls.certificate and tls.key):
        return ["tls: certificate and key belong together; name both PEM files"]
    lacking = [
        f"tls.{name}: {path}: is no file; check the path"
        for name, path in vars(tls).items()
        if path and not Path(path).is_file()
    ]
    if lacking:
        return lacking
    try:
        server_context(tls)
        client_context(tls)
    except (OSError, ssl.SSLError) as error:
        return [f"tls: the files cannot be used ({error}); give PEM files that belong together"]
    return []


def _work_problems(settings: Settings) -> list[str]:
    found = []
    try:
        model_folder(WEIGHTS, settings.work.model or None)
    except AbdoboxError as error:
        found.append(f"work.model: {error}")
    if settings.work.html:
        try:
            niivue()
        except AbdoboxError as error:
            found.append(f"work.html: {error}")
    return found
