const work = async ({ do: what, n }) => {
  if (what === "fail") throw new TypeError("boom");
  if (what === "slow") await new Promise((done) => setTimeout(done, 2500));
  if (what === "error") return { error: "boom" };
  return what === "empty" ? undefined : { n: 2 * n };
};

const answer = async (req, res) => {
  const out = await work(req.body);
  out === undefined ? res.end() : res.json(out);
};

if (process.env.FUNCTION_TARGET) {
  require("@google-cloud/functions-framework").http("framework", answer);
} else {
  const express = require("express");
  express().use(express.json({ strict: false })).post("/", answer).listen(process.env.PORT, "127.0.0.1");
}
