// Messages to and from the test that forked this process.
const waiting = [];
const come = [];
process.on("message", (message) => {
  const take = waiting.shift();
  if (take === undefined) come.push(message);
  else take(message);
});
// The test has gone.
process.on("disconnect", () => process.exit(1));

export const options = JSON.parse(process.argv[2] ?? "{}");

/** The next message of the test. */
export function next() {
  return come.length > 0 ? Promise.resolve(come.shift()) : new Promise((resolve) => waiting.push(resolve));
}

export function tell(message) {
  process.send(message);
}

/** Ends the talk, so that this process can end. */
export function done() {
  process.removeAllListeners("disconnect");
  process.disconnect();
}
