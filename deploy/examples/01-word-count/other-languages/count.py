import collections, http.server, json, re

class Count(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        out = json.dumps(collections.Counter(re.findall(r"\w+", body))).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(out)

http.server.ThreadingHTTPServer(("127.0.0.1", 7001), Count).serve_forever()
