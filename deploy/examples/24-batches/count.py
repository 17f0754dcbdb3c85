"""Counts words, of many lines in one request: a batch of CloudEvents comes, and a batch of outcomes goes, in any order."""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def outcome(call):
    line = call["data"]["line"]
    if line:
        how, data = "succeeded", {"words": len(line.split())}
    else:
        how, data = "failed", {"type": "empty", "message": "a line without words"}
    return {
        "specversion": "1.0",
        "id": call["id"] + "-done",
        "source": "/count",
        "type": "dev.onward.function." + how,
        "causationid": call["id"],
        "data": data,
    }


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        calls = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(len(calls), "calls", flush=True)
        body = json.dumps([outcome(c) for c in calls]).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/cloudevents-batch+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("127.0.0.1", 7024), Handler).serve_forever()
