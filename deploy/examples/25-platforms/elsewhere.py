"""Answers as OpenFaaS's gateway, AWS Lambda's Invoke API and OpenWhisk's controller do."""

import json
import os
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ROUTER = os.environ["ONWARD_ADDR"]
ACTIVATION = "44794bd6aab74415b4e42a308d880e5b"
done = threading.Event()


def call_back(call):
    headers = {"X-Call-Id": call, "X-Function-Name": "resize", "X-Function-Status": "200", "Content-Type": "application/json"}
    urllib.request.urlopen(urllib.request.Request(ROUTER + "/callbacks", b'{"by": "OpenFaaS"}', headers))


def run_action():
    time.sleep(1)
    done.set()
    event = {"source": "invoker0", "body": {"name": "guest/images/resize", "activationId": ACTIVATION, "statusCode": 0, "duration": 1000}, "namespace": "guest", "eventType": "Activation"}
    urllib.request.urlopen(urllib.request.Request(ROUTER + "/activations", json.dumps(event).encode(), {"Content-Type": "application/json"}))


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, body=None, **headers):
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path.startswith("/async-function/"):
            call = self.headers["X-Call-Id"]
            self.answer(202, X_Call_Id=call)
            threading.Thread(target=call_back, args=[call]).start()
        elif self.path.startswith("/2015-03-31/functions/"):
            failure = {"errorType": "ValueError", "errorMessage": "no such picture"}
            self.answer(200, failure, X_Amz_Function_Error="Unhandled", X_Amzn_RequestId="e4b46cbf")
        else:
            self.answer(202, {"activationId": ACTIVATION})
            threading.Thread(target=run_action).start()

    def do_GET(self):
        if not done.is_set():
            self.answer(404, {"error": "The requested resource does not exist."})
        else:
            self.answer(200, {"activationId": ACTIVATION, "response": {"status": "success", "success": True, "result": {"by": "OpenWhisk"}}})

    def log_message(self, *args):
        pass


ThreadingHTTPServer(("127.0.0.1", 7025), Handler).serve_forever()
