import time

import flask
import functions_framework


def work(data):
    what = data["do"]
    if what == "fail":
        raise ValueError("boom")
    if what == "slow":
        time.sleep(2.5)
    if what == "error":
        return {"error": "boom"}
    if what == "empty":
        return None
    return {"n": 2 * data["n"]}


@functions_framework.http
def framework(request):
    out = work(request.get_json())
    return ("", 200) if out is None else out


app = flask.Flask(__name__)


@app.post("/")
def view():
    out = work(flask.request.get_json())
    return ("", 200) if out is None else flask.jsonify(out)


def handler(event, context):
    assert context.client_context.custom["type"] == "dev.onward.function.invoke"
    return work(event)


def emulated(event, context):
    return work(event)
