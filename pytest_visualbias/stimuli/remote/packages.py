"""What has to be installed for a URL, besides fsspec."""

from __future__ import annotations

from typing import Final

# As pip knows them, by what stands before ``://``.
PACKAGES: Final[dict[str, str]] = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    "hf": "huggingface_hub",
    **dict.fromkeys(("http", "https"), "aiohttp"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    "smb": "smbprotocol",
    **dict.fromkeys(("arrow_hdfs", "hdfs"), "pyarrow"),
    **dict.fromkeys(("dbfs", "gist", "github", "jlab", "jupyter", "webhdfs"), "requests"),
    "dvc": "dvc",
    "git": "pygit2",
    "box": "boxfs",
    "dropbox": "dropboxdrivefs",
    "gdrive": "gdrive_fsspec",
    "lakefs": "lakefs-spec",
    **dict.fromkeys(("oci", "ocilake"), "ocifs"),
    "oss": "ossfs",
    "root": "fsspec-xrootd",
    **dict.fromkeys(("tos", "tosfs"), "tosfs"),
    **dict.fromkeys(("dav", "webdav"), "webdav4"),
    "wandb": "wandbfs",
}


def lacking(scheme: str, hint: str = "") -> str:
    """Return what to say where the package for a kind of URL cannot be imported."""
    package = PACKAGES.get(scheme)
    if package is not None:
        return f"{scheme}:// needs the package {package}; pip install {package}"
    return hint or f"the package for {scheme}:// is missing; install it with pip"
