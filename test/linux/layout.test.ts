import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  cmsghdr,
  controlLength,
  controlSpace,
  epollEvent,
  iovec,
  maxSocketPathBytes,
  msghdr,
  readControl,
  sockaddrUn,
  writeControl,
} from "../../src/linux/ffi/layout.ts";
import { withTempDir } from "./support.ts";

const program = `
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#define P(x) printf("%zu ", (size_t)(x))
int main(void) {
  P(sizeof(struct msghdr)); P(offsetof(struct msghdr, msg_iov)); P(offsetof(struct msghdr, msg_iovlen));
  P(offsetof(struct msghdr, msg_control)); P(offsetof(struct msghdr, msg_controllen));
  P(offsetof(struct msghdr, msg_flags));
  P(sizeof(struct iovec)); P(offsetof(struct iovec, iov_base)); P(offsetof(struct iovec, iov_len));
  P(sizeof(struct cmsghdr)); P(offsetof(struct cmsghdr, cmsg_len)); P(offsetof(struct cmsghdr, cmsg_level));
  P(offsetof(struct cmsghdr, cmsg_type));
  P(sizeof(struct sockaddr_un)); P(offsetof(struct sockaddr_un, sun_family)); P(offsetof(struct sockaddr_un, sun_path));
  P(sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
  P(sizeof(struct epoll_event)); P(offsetof(struct epoll_event, events)); P(offsetof(struct epoll_event, data));
  int counts[] = {0, 1, 2, 16, 253};
  for (int i = 0; i < 5; i++) { P(CMSG_LEN(counts[i] * sizeof(int))); P(CMSG_SPACE(counts[i] * sizeof(int))); }
  return 0;
}
`;

const structures = [
  ...[msghdr.size, msghdr.iov, msghdr.iovLength, msghdr.control, msghdr.controlLength, msghdr.flags],
  ...[iovec.size, iovec.base, iovec.length],
  ...[cmsghdr.size, cmsghdr.length, cmsghdr.level, cmsghdr.type],
  ...[sockaddrUn.size, sockaddrUn.family, sockaddrUn.path, maxSocketPathBytes],
];

describe("layout", () => {
  it("has the sizes and offsets that the C compiler has", async (context) => {
    const compiler = findCompiler();
    if (compiler === undefined) {
      context.skip("no C compiler (gcc, cc, clang) to compare the layouts with");
      return;
    }
    await withTempDir((directory) => {
      writeFileSync(join(directory, "layout.c"), program);
      const output = join(directory, "layout");
      execFileSync(compiler, ["-o", output, join(directory, "layout.c")]);
      const printed = execFileSync(output, { encoding: "utf8" }).trim().split(" ").map(Number);
      const event = epollEvent(process.arch);
      const controls = [0, 1, 2, 16, 253].flatMap((count) => [controlLength(count), controlSpace(count)]);
      expect([...structures, event.size, event.events, event.data, ...controls]).toEqual(printed);
    });
  });

  it("has the sizes and offsets that koffi computes", () => {
    const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
    const message = koffi.struct({
      name: "void *",
      namelen: "uint32_t",
      iov: "void *",
      iovlen: "size_t",
      control: "void *",
      controllen: "size_t",
      flags: "int",
    });
    expect(koffi.sizeof(message)).toBe(msghdr.size);
    expect(koffi.offsetof(message, "iov")).toBe(msghdr.iov);
    expect(koffi.offsetof(message, "controllen")).toBe(msghdr.controlLength);
    expect(koffi.offsetof(message, "flags")).toBe(msghdr.flags);
  });

  it("reads back the fds it wrote, and stops at broken control data", () => {
    const view = new DataView(new ArrayBuffer(controlSpace(253) * 2));
    const fds = [7, 0, 2 ** 31 - 1];
    const first = writeControl(view, 0, fds);
    const second = writeControl(view, first, [9]);
    expect(readControl(view, 0, first + second)).toEqual([...fds, 9]);
    expect(readControl(view, 0, cmsghdr.size + 8)).toEqual([7, 0]);
    view.setInt32(first + cmsghdr.type, 2, true);
    expect(readControl(view, 0, first + second)).toEqual(fds);
    view.setBigUint64(0, 3n, true);
    expect(readControl(view, 0, first + second)).toEqual([]);
    view.setBigUint64(0, 0xffff_ffff_ffff_ffffn, true);
    expect(readControl(view, 0, first)).toHaveLength((first - cmsghdr.size) / 4);
  });
});

function findCompiler(): string | undefined {
  return ["gcc", "cc", "clang"].find((name) => {
    try {
      execFileSync(name, ["--version"], { stdio: "ignore" });
      return true;
    } catch {
      return false;
    }
  });
}
