// Prints the events that cloudevents of npm makes of messages that come as lines of JSON: {kafka: {key, headers, value}} or {http: {headers, body}}.
const { HTTP, Kafka } = require("cloudevents");
const { createInterface } = require("node:readline");

createInterface({ input: process.stdin }).on("line", (line) => {
  const { kafka, http } = JSON.parse(line);
  const event = kafka ? Kafka.toEvent({ ...kafka, value: Buffer.from(kafka.value) }) : HTTP.toEvent(http);
  event.validate();
  console.log(JSON.stringify(event));
});
