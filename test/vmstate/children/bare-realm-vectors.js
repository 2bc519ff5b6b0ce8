// A script, not a module: evaluated in the bare realm, where `vmstate` is the package. Its last value is the answer.
(() => {
  const { vmstate: api } = globalThis;
  const bytesOf = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
  const hexOf = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

  let evalError = "";
  try {
    // biome-ignore lint/security/noGlobalEval: that it fails is what is checked
    eval("1");
  } catch (error) {
    evalError = error.name;
  }

  const cprFd = api.vmstate({
    name: "cpr fd",
    version: 1,
    fields: { namelen: api.uint32(), name: api.cstring("namelen", 256), id: api.int32(), fd: api.fd() },
  });
  const cpr = api.vmstate({ name: "CprState", version: 1, fields: { fds: api.qlist(cprFd) } });
  const state = {
    fds: [
      { namelen: 5, name: "caf\udce9", id: -1, fd: 7 },
      { namelen: 6, name: "caf\u00e9", id: 2, fd: 8 },
    ],
  };
  const output = api.save(cpr, state);
  const loaded = api.load(cpr, output);

  const everything = api.vmstate({
    name: "all",
    version: 1,
    fields: {
      bool: api.bool(),
      when: api.timer(),
      double: api.cpuDouble(),
      map: api.bitmap(65),
      ring: api.array(api.int64(), 2),
      ptrs: api.arrayOfMarkedPointers(api.uint8(), 2),
      tree: api.gtreeDirectKey({ value: cpr }),
    },
  });
  const hex =
    "01ffffffffffffffff3ff80000000000000000000000000001000000000000000100000000000000018000000000000000" +
    "3105300000000101000000000000000900" +
    "00";
  const all = api.load(everything, { bytes: bytesOf(hex) });
  const json = api.toVmdesc(everything, all);
  const described = api.fromVmdesc(json).description;

  let failure;
  try {
    api.load(cpr, { bytes: output.bytes.subarray(0, 9), fds: [] });
  } catch (error) {
    failure = { isCprkitError: api.isCprkitError(error), ...error.toJSON() };
  }

  return JSON.stringify({
    present: ["Buffer", "process", "TextDecoder", "TextEncoder", "setTimeout", "console", "URL"].filter(
      (name) => name in globalThis,
    ),
    evalError,
    cpr: hexOf(output.bytes),
    names: loaded.fds.map(({ name }) => name === state.fds[0].name || name === state.fds[1].name),
    fds: output.fds,
    again: hexOf(api.save(everything, all).bytes) === hex,
    byJson: hexOf(api.save(described, api.load(described, { bytes: bytesOf(hex) })).bytes) === hex,
    spans: api.trace(everything, { bytes: bytesOf(hex) }).spans.length,
    failure,
  });
})();
