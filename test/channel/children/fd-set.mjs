// The fds of a test: memfds, eventfds and sockets, each with something in it that only the same open file can show.
import { readSync, writeSync } from "node:fs";
import { CprState } from "../../../dist/cpr/index.js";
import {
  createEventfd,
  createMemfd,
  isCloseOnExec,
  listFds,
  readFdInfo,
  receiveFds,
  sendFds,
  socketPair,
} from "../../../dist/linux/index.js";

/** Key number `index`: a RAM block, an interrupt's vector, or one end of a socket pair. */
function keyOf(index) {
  const group = Math.floor(index / 4);
  switch (index % 4) {
    case 0:
      return { kind: "memfd", name: `/objects/ram${group}`, id: 0 };
    case 1:
      return { kind: "eventfd", name: `0000:${(group >> 6).toString(16)}:00.0_interrupt`, id: group & 63 };
    case 2:
      return { kind: "socket", name: `net${group}`, id: -1 };
    default:
      return { kind: "socket", name: `net${group}`, id: 1 };
  }
}

const textOf = ({ name, id }) => `${name} ${id}`;

/** Opens `count` fds, a multiple of 2 as sockets come in pairs, and saves them in a new state. */
export function openFdSet(count) {
  const state = new CprState();
  let other = -1;
  for (let index = 0; index < count; index++) {
    const key = keyOf(index);
    let fd;
    if (key.kind === "memfd") {
      fd = createMemfd(key.name);
      writeSync(fd, textOf(key), 0);
    } else if (key.kind === "eventfd") {
      fd = createEventfd({ initial: index });
    } else if (key.id < 0 && index + 1 < count) {
      [fd, other] = socketPair();
      // What is written into one end is read from the other.
      sendFds(other, Buffer.from(textOf(key)), []);
      sendFds(fd, Buffer.from(textOf(keyOf(index + 1))), []);
    } else {
      fd = other;
    }
    state.saveFd(key.name, key.id, fd);
  }
  return state;
}

/** Looks for each of the `count` fds; how many are found, are the same open file by their content, close-on-exec. */
export function checkFdSet(state, count) {
  const report = { size: state.size, found: 0, right: 0, closeOnExec: 0 };
  for (let index = 0; index < count; index++) {
    const key = keyOf(index);
    const fd = state.findFd(key.name, key.id);
    if (fd < 0) continue;
    report.found += 1;
    if (isCloseOnExec(fd)) report.closeOnExec += 1;
    if (holds(key, index, fd)) report.right += 1;
  }
  return report;
}

const buffer = Buffer.alloc(64);

function holds(key, index, fd) {
  if (key.kind === "eventfd") return readFdInfo("self", fd).eventfdCount === BigInt(index);
  if (key.kind === "memfd") return buffer.toString("utf8", 0, readSync(fd, buffer, 0, 64, 0)) === textOf(key);
  const received = receiveFds(fd, buffer);
  return received !== "again" && buffer.toString("utf8", 0, received.bytesRead) === textOf(key);
}

/** Fds open now beyond `before` and those of `state`; and those of `before` that are closed now. */
export function leaked(before, state) {
  const expected = new Set(before);
  for (const { fd } of state ?? []) expected.add(fd);
  const now = listFds();
  return {
    surplus: now.filter((fd) => !expected.has(fd)),
    lost: [...expected].filter((fd) => !now.includes(fd)),
  };
}
