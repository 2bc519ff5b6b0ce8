// Faults at every step of cpr-reboot; see fault-suite.ts.
import { faultSuite } from "./fault-suite.ts";

faultSuite("cpr-reboot");
