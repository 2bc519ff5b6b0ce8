// A PostgreSQL server of one's own for tests and the demonstration: as an ordinary user, in one folder, from the cache
// that scripts/qemu/fetch.mjs fills.

import { spawn, spawnSync } from "node:child_process";
import {
  appendFileSync,
  closeSync,
  cpSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import pg from "pg";

const root = fileURLToPath(new URL("../..", import.meta.url));

/**
 * @typedef {object} Postgres
 * @property {(role?: string, database?: string) => string} url for a role over the UNIX socket, which trusts everybody
 * @property {() => Promise<void>} start again, after {@link Postgres.kill}
 * @property {() => Promise<void>} stop waits until all is written
 * @property {() => Promise<void>} kill the server and each process of it at once, as a crash of the machine
 * @property {() => void} hang it neither answers nor refuses until {@link Postgres.goOn}
 * @property {() => void} goOn
 * @property {() => Promise<void>} backUp copies the cluster as it is now
 * @property {() => Promise<void>} restore goes back to that copy
 * @property {() => string} log
 */

/** Why there can be no server here, or undefined. @returns {string | undefined} */
export function whyNoPostgres() {
  if (!existsSync(program("postgres"))) return "PostgreSQL is not in the cache: `npm run qemu` fetches it";
  return "why" in userPrefix() ? userPrefix().why : undefined;
}

/**
 * Makes a cluster in `dir` and starts its server.
 *
 * @param {string} dir an empty folder of this user's, with a short path: a socket is made in it
 * @param {{ readonly tls?: { readonly port: number, readonly ca: string, readonly cert: string, readonly key: string },
 *   readonly settings?: readonly string[] }} [options] with `tls` (paths) it also listens on 127.0.0.1, for those who show
 *   a certificate for their role; more settings as "name=value"
 * @returns {Promise<Postgres>}
 */
export async function startPostgres(dir, { tls, settings = [] } = {}) {
  const data = join(dir, "data");
  const prefix = userPrefix().words ?? [];
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  if (!existsSync(join(data, "PG_VERSION"))) {
    const words = ["-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "trust", "--no-sync"];
    run([...prefix, program("initdb"), ...words]);
    const remote = tls === undefined ? "" : "hostssl all all 127.0.0.1/32 cert\n";
    writeFileSync(join(data, "pg_hba.conf"), `local all all trust\n${remote}`);
    const list = [
      "jit=off",
      "fsync=off",
      "shared_buffers=32MB",
      "timezone=GMT",
      "log_timezone=GMT",
      `unix_socket_directories='${dir}'`,
      ...(tls === undefined
        ? ["listen_addresses=''"]
        : [
            ...["listen_addresses='127.0.0.1'", `port=${tls.port}`, "ssl=on"],
            ...[`ssl_ca_file='${tls.ca}'`, `ssl_cert_file='${tls.cert}'`, `ssl_key_file='${tls.key}'`],
          ]),
      ...settings,
    ];
    appendFileSync(join(data, "postgresql.conf"), `${list.join("\n")}\n`);
  }
  const log = join(dir, "log");
  const port = tls?.port ?? 5432;
  const url = (role = "postgres", database = "fleet") =>
    `postgresql://${role}@localhost:${port}/${database}?host=${encodeURIComponent(dir)}`;
  /** @type {import("node:child_process").ChildProcess | undefined} */
  let child;
  const launch = () => {
    const fd = openSync(log, "a");
    const [name = "", ...words] = [...prefix, program("postgres"), "-D", data];
    const started = spawn(name, words, { stdio: ["ignore", fd, fd] });
    closeSync(fd);
    return started;
  };
  const start = async () => {
    child = launch();
    for (let attempt = 0; ; attempt++) {
      const client = new pg.Client({ connectionString: url("postgres", "postgres") });
      try {
        await client.connect();
        const { rowCount } = await client.query("select from pg_database where datname = 'fleet'");
        if (rowCount === 0) await client.query("create database fleet");
        await client.end();
        return;
      } catch (error) {
        await client.end().catch(() => {});
        // After a crash it refuses to start until the last process of the one before has ended.
        const isTooEarly = child.exitCode !== null && /still in use|already exists/.test(lastLines(log));
        if (isTooEarly && attempt <= 600) child = launch();
        else if (child.exitCode !== null || attempt > 600) throw new Error(`${readFileSync(log, "utf8")}\n${error}`);
        await sleep(50);
      }
    }
  };
  /** @param {NodeJS.Signals} signal */
  const end = async (signal) => {
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child?.once("exit", done));
    child.kill(signal);
    await ended;
  };
  /** The server and its children, as /proc has them (proc(5): the file "children" of a thread). */
  const family = () => {
    const pid = child?.pid;
    if (child === undefined || pid === undefined || child.exitCode !== null || child.signalCode !== null) return [];
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8");
    return [pid, ...children.split(" ").filter(Boolean).map(Number)];
  };
  /** @param {NodeJS.Signals} signal */
  const tellAll = (signal) => {
    for (const pid of family()) {
      try {
        process.kill(pid, signal);
      } catch {
        // It has ended by itself.
      }
    }
  };
  const kill = async () => {
    const ended =
      child?.exitCode === null && child.signalCode === null && new Promise((done) => child?.once("exit", done));
    tellAll("SIGKILL");
    await ended;
  };
  process.on("exit", () => tellAll("SIGKILL"));
  await start();
  const copy = join(dir, "copy");
  const whileDown = async (/** @type {() => void} */ act) => {
    await end("SIGINT");
    act();
    await start();
  };
  return {
    ...{ url, start, stop: () => end("SIGINT"), kill, log: () => readFileSync(log, "utf8") },
    ...{ hang: () => tellAll("SIGSTOP"), goOn: () => tellAll("SIGCONT") },
    backUp: () => whileDown(() => cpSync(data, copy, { recursive: true })),
    restore: () =>
      whileDown(() => {
        rmSync(data, { recursive: true });
        cpSync(copy, data, { recursive: true });
      }),
  };
}

/** @param {string} name */
function program(name) {
  return resolve(process.env.CPRKIT_CACHE || join(root, ".cache"), "postgres/bin", name);
}

/** @type {{ words: string[] } | { why: string } | undefined} */
let found;

/** PostgreSQL refuses to run as root, who becomes another user here, in a namespace of its own: one that has a name. */
function userPrefix() {
  if (process.geteuid?.() !== 0) return { words: [] };
  const [, id = "65534"] = /^(?!root:)[^:\n]*:[^:\n]*:(\d+):/m.exec(readFileSync("/etc/passwd", "utf8")) ?? [];
  const words = ["unshare", "--user", `--map-user=${id}`, `--map-group=${id}`];
  found ??=
    spawnSync(words[0] ?? "", [...words.slice(1), "true"], { stdio: "ignore" }).status === 0
      ? { words }
      : { why: "PostgreSQL refuses to run as root, and no user namespace can be made here" };
  return found;
}

/** @param {string} file */
const lastLines = (file) => readFileSync(file, "utf8").trimEnd().split("\n").slice(-6).join("\n");

/** @param {readonly string[]} words */
function run([name = "", ...words]) {
  const { status, stderr, error } = spawnSync(name, words, { encoding: "utf8", stdio: ["ignore", "ignore", "pipe"] });
  if (status !== 0) throw new Error(`${name} ${words.join(" ")}: ${error?.message ?? stderr}`);
}
