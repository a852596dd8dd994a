#!/bin/sh
# Prints the Python that runs tests/s3/server.py, after making it: a virtual environment with moto from PyPI, some 130 MB.
#
# python.sh FOLDER   the environment is made in FOLDER once, and again when the requirements change
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=$1
if ! cmp -s "$here/requirements.txt" "$folder/made-from.txt"; then
    rm -rf "$folder"
    python3 -m venv "$folder"
    "$folder/bin/pip" install --quiet --disable-pip-version-check --retries 1 -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$folder/made-from.txt"
fi
echo "$folder/bin/python"
