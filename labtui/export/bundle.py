"""A bundle: one zip with a lab's snapshot, its specs, provenance, report, and a checksum of each.

What is imported is data that nobody may trust: names, sizes and checksums are settled before a byte is
written, and nothing is written but the snapshot.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import stat
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

FORMAT = "labtui-bundle-1"
MANIFEST = "manifest.json"
SNAPSHOT = "lab.db"
NAMES = (SNAPSHOT, "spec.json", "provenance.json", "report.html")
"""What a bundle holds beside its manifest, and nothing else."""
MAX_MANIFEST = 1 << 16
MAX_BYTES = 64 << 30
"""Of a file in a bundle, unpacked."""
MAX_RATIO = 200
"""A file that unpacks to more than so many times its size is a bomb; a lab's is below 20."""
CHUNK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_STAMP = (1980, 1, 1, 0, 0, 0)


class BadBundle(ValueError):  # noqa: N818 - as BadInput
    """What is wrong with a bundle, in one sentence without its name."""


def pack(out: Path, files: Mapping[str, Path], facts: Mapping[str, Any]) -> None:
    """Write a bundle of files under their names in it; equal files give equal bytes.

    Args:
        files: a subset of ``NAMES``, the snapshot among them.
        facts: what the manifest says beside the checksums.
    """
    listed = {name: {"bytes": path.stat().st_size, "sha256": digest(path)} for name, path in files.items()}
    manifest = {"format": FORMAT, **facts, "files": listed}
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(_info(MANIFEST), json.dumps(manifest, indent=2, sort_keys=True) + "\n")
        for name, path in files.items():
            with path.open("rb") as source, bundle.open(_info(name), "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, CHUNK)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(bundle_file: Path, out: Path) -> dict[str, Any]:
    """Verify a bundle whole and write its snapshot to ``out``, which exists and is empty; its manifest.

    Raises:
        BadBundle: it is no bundle, holds what no bundle holds, or a checksum differs.
        OSError: a file cannot be read or written.
    """
    try:
        bundle = zipfile.ZipFile(bundle_file)
    except (OSError, ValueError) as error:  # also of offsets that lie before its beginning
        raise BadBundle(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise BadBundle(f"is damaged or no zip file: {error}") from None
    try:
        with bundle:
            return _unpack(bundle, out)
    except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeDecodeError) as error:
        raise BadBundle(f"is damaged or no zip file: {error}") from None
    except RuntimeError as error:  # an encrypted file
        raise BadBundle(f"cannot be read: {error}") from None
    except zlib.error as error:
        raise BadBundle(f"is damaged: {error}") from None


def _unpack(bundle: zipfile.ZipFile, out: Path) -> dict[str, Any]:
    infos = bundle.infolist()
    names = [info.filename for info in infos]
    strange = [name for name in names if name not in (*NAMES, MANIFEST)]
    if strange:
        raise BadBundle(f"holds {strange[0][:80]!r}; expected {MANIFEST} and {', '.join(NAMES)} alone")
    if len(set(names)) < len(names):
        raise BadBundle("holds a name twice; expected each once")
    packed = [info.filename for info in infos if info.compress_type not in _METHODS]
    if packed:
        raise BadBundle(f"holds {packed[0]} packed in another way; expected what labtui bundle wrote")
    if not {MANIFEST, SNAPSHOT} <= set(names):
        raise BadBundle(f"holds no {MANIFEST} or no {SNAPSHOT}; expected a file that labtui bundle wrote")
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if info.is_dir() or kind not in (0, stat.S_IFREG):
            raise BadBundle(f"holds {info.filename} as a link or a folder; expected plain files")
        too_large = info.file_size > (MAX_MANIFEST if info.filename == MANIFEST else MAX_BYTES)
        if too_large or info.file_size > CHUNK + MAX_RATIO * info.compress_size:
            raise BadBundle(
                f"holds {info.filename} that unpacks to {info.file_size} bytes; expected far fewer"
            )
    manifest, listed = _manifest(bundle)
    if set(listed) != set(names) - {MANIFEST}:
        raise BadBundle("lists other files than it holds; expected a checksum of each")
    for name, told in listed.items():
        with _member(bundle, name) as source:
            if name == SNAPSHOT:
                with out.open("wb") as target:
                    found = _copy(source, target, told["bytes"])
            else:
                found = _copy(source, None, told["bytes"])
        if found != told["sha256"]:
            raise BadBundle(f"holds {name} with another checksum than its manifest says; it was changed")
    return manifest


def _manifest(bundle: zipfile.ZipFile) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """(the manifest, its files), checked."""
    from store.json import mapping

    with _member(bundle, MANIFEST) as file:
        manifest = mapping(file.read(MAX_MANIFEST + 1).decode("utf-8"))
    if manifest.get("format") != FORMAT:
        raise BadBundle(f"has the format {str(manifest.get('format'))[:40]!r}; expected {FORMAT}")
    listed = manifest.get("files")
    files = listed if isinstance(listed, dict) else {}
    for told in files.values():
        if (
            not isinstance(told, dict)
            or type(told.get("bytes")) is not int
            or type(told.get("sha256")) is not str
        ):
            raise BadBundle(
                "has a manifest without sizes and checksums; expected bytes and sha256 of each file"
            )
    return manifest, files


def _copy(source: IO[bytes], target: IO[bytes] | None, limit: int | None) -> str:
    """Copy to the end and return the SHA-256; never more than ``limit`` bytes are written."""
    found, done = hashlib.sha256(), 0
    while chunk := _chunk(source):
        done += len(chunk)
        if limit is not None and done > limit:
            raise BadBundle("holds a file that is larger than its manifest says; it was changed")
        found.update(chunk)
        if target is not None:
            target.write(chunk)
    return found.hexdigest()


def _member(bundle: zipfile.ZipFile, name: str) -> IO[bytes]:
    try:
        return bundle.open(name)
    except (OSError, ValueError) as error:
        raise BadBundle(f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _chunk(source: IO[bytes]) -> bytes:
    try:
        return source.read(CHUNK)
    except OSError as error:  # told of the bundle, not of the file that is written
        raise BadBundle(f"cannot be read: {error.strerror or error}") from None


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _STAMP)
    info.external_attr = (stat.S_IFREG | 0o600) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info
