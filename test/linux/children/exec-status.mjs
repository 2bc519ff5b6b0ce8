// Node ignores SIGPIPE and SIGXFSZ; the program after it must not.
import { execve, setNonblock } from "../../../dist/linux/index.js";

setNonblock(1, true);
execve("/bin/sh", ["sh", "-c", "grep -h -E '^(SigBlk|SigIgn|flags)' /proc/self/status /proc/self/fdinfo/1"]);
