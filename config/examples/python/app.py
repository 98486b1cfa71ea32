"""A web service whose database user changes while it runs. GET / answers as whom it works."""

import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sqlalchemy import create_engine, event, make_url, text

URL_FILE = Path(os.environ.get("DATABASE_URL_FILE", "/lessor/secrets/url"))


def current_url():
    """The file's URL. The file is replaced as a whole, so user and password always belong together."""
    return make_url(URL_FILE.read_text().strip())


first_url = current_url()
engine = create_engine(first_url.set(drivername="postgresql+psycopg"), pool_size=5)


@event.listens_for(engine, "do_connect")
def connect_as_the_current_user(_dialect, _record, _arguments, parameters):
    url = current_url()
    parameters.update(user=url.username, password=url.password)


def follow(known):
    """Leaves the connections of a former user. Those in use end when they are given back."""
    while True:
        time.sleep(1)
        try:
            url = current_url()
        except OSError as error:
            # The folder may be exchanged just while it is read: the next look finds the file.
            print(error, flush=True)
            continue
        if url != known:
            known = url
            engine.dispose()
            print("working as", url.username, flush=True)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO notes (body) VALUES ('from Python')"))
            user = connection.execute(text("SELECT current_user")).scalar_one()
        body = user.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
threading.Thread(target=follow, args=(first_url,), daemon=True).start()
ThreadingHTTPServer(("", int(os.environ.get("PORT", "8080"))), Handler).serve_forever()
