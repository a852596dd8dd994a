"""An S3 server for tests: moto, with one bucket and one pair of keys, and signatures checked.

Prints one line of JSON (endpoint, bucket, access_key, secret_key), then obeys words on its standard input, one a line, each
answered by one line:

    down     stops listening, as a server that is being restarted
    up       listens again on the same port; the objects are still there
    cut before, cut after  one of the next writes under a condition each has its connection reset, before it is done or
             after it
    uploads  answers how many uploads in parts were begun and neither completed nor given up
    puts     answers how often each object was written, by path, as JSON
    save DIR     writes all objects below a directory and answers how many there are
    remove KEY   removes an object
    damage KEY   cuts an object in half

It ends when its input ends, so it never outlives the test that started it.
"""

import collections
import json
import logging
import os
import pathlib
import socket
import struct
import sys
import threading

from moto import settings
from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

ACCOUNT = "123456789012"
BUCKET = "polybolos-tests"
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


class Server:
    """The server, up or down, always on the same port."""

    def __init__(self):
        self.puts = collections.Counter()
        self.cuts = collections.deque()
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.port = 0
        self.up()

    def count(self, environ, start_response):
        """Counts what is written, then lets moto answer, or nobody where the connection is to be cut."""
        is_conditional = "HTTP_IF_NONE_MATCH" in environ or "HTTP_IF_MATCH" in environ
        cut = self.cuts.popleft() if self.cuts and environ["REQUEST_METHOD"] == "PUT" and is_conditional else None
        if cut == "before":
            # The client has sent it all: what breaks off earlier it repeats by itself.
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            reset(environ["werkzeug.socket"])

        def started(status, headers, *more):
            if environ["REQUEST_METHOD"] == "PUT" and status.startswith("200"):
                self.puts[environ["PATH_INFO"]] += 1
            return start_response(status, headers, *more)

        answer = self.moto(environ, started)
        if cut == "after":
            reset(environ["werkzeug.socket"])
        return answer

    def up(self):
        self.listener = make_server("127.0.0.1", self.port, self.count, threaded=True)
        self.port = self.listener.server_address[1]
        self.listener.handle_error = self.tell_error
        self.thread = threading.Thread(target=self.listener.serve_forever, daemon=True)
        self.thread.start()

    def tell_error(self, request, address):
        """Tells what went wrong with a request, unless its connection was cut here."""
        if not isinstance(sys.exc_info()[1], OSError):
            type(self.listener).handle_error(self.listener, request, address)

    def down(self):
        self.listener.shutdown()
        self.listener.server_close()
        self.thread.join()


def reset(connection):
    """Closes a connection with a reset, and ends the request."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())
    raise ConnectionResetError


def save(s3, folder):
    keys = s3.buckets[BUCKET].keys
    for name in keys:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(keys[name].value)
    return len(keys)


def say(line):
    print(line, flush=True)


def main():
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    iam, s3 = iam_backends[ACCOUNT]["aws"], s3_backends[ACCOUNT]["aws"]
    iam.create_user("us-east-1", "tests")
    key = iam.create_access_key("tests")
    iam.put_user_policy("tests", "s3", json.dumps(POLICY))
    s3.create_bucket(BUCKET, "us-east-1")
    # From now on every request must be signed with these keys.
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    server = Server()
    say(
        json.dumps(
            {
                "endpoint": f"http://127.0.0.1:{server.port}",
                "bucket": BUCKET,
                "access_key": key.access_key_id,
                "secret_key": key.secret_access_key,
            }
        )
    )
    for word in map(str.strip, sys.stdin):
        if word == "down":
            server.down()
            say("down")
        elif word == "up":
            server.up()
            say("up")
        elif word in ("cut before", "cut after"):
            server.cuts.append(word[4:])
            say("cut")
        elif word == "uploads":
            say(len(s3.buckets[BUCKET].multiparts))
        elif word == "puts":
            say(json.dumps(server.puts))
        elif word.startswith("save "):
            say(save(s3, pathlib.Path(word[5:])))
        elif word.startswith("remove "):
            s3.delete_object(BUCKET, word[7:])
            say("removed")
        elif word.startswith("damage "):
            whole = s3.get_object(BUCKET, word[7:]).value
            s3.put_object(BUCKET, word[7:], whole[: len(whole) // 2])
            say("damaged")
        else:
            say(f"what is {word!r}?")


main()
