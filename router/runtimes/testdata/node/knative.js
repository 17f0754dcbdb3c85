const { CloudEvent } = require(process.env.NODE_PATH + "/faas-js-runtime/node_modules/cloudevents");

// A function of Knative's: for odd numbers the answer is an event, for even ones an object.
const handle = async (context, event) => {
  const { do: what, n } = event.data;
  if (what === "fail") throw new TypeError("boom");
  if (what === "slow") await new Promise((done) => setTimeout(done, 2500));
  if (what === "error") return { error: "boom" };
  if (what === "empty") return undefined;
  const data = { n: 2 * n };
  return n % 2 ? new CloudEvent({ type: "doubled", source: "/node", data }) : data;
};

require("faas-js-runtime").start(handle, { port: Number(process.env.PORT), logLevel: "warn" });
