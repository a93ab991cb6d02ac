"""What stores take keys from, so that a sentence can name it."""

from __future__ import annotations

from typing import Final

AMAZON = "give AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile in ~/.aws"
GOOGLE = "give GOOGLE_APPLICATION_CREDENTIALS"

# Stores whose URLs begin with a bucket, where others have a name and a password before the host.
KEYS: Final[dict[str, str]] = {
    **dict.fromkeys(("s3", "s3a", "r2"), AMAZON),
    **dict.fromkeys(("gs", "gcs"), GOOGLE),
    "hf": "give HF_TOKEN",
}
