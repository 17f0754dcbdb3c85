from fastapi import FastAPI, HTTPException, Response

from main import work

app = FastAPI()


@app.post("/")
def view(body: dict):
    if body["do"] == "fail":
        raise HTTPException(status_code=422, detail={"code": "E1"})
    out = work(body)
    return Response() if out is None else out
