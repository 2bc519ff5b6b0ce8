// Faults at every step of cpr-transfer; see fault-suite.ts.
import { faultSuite } from "./fault-suite.ts";

faultSuite("cpr-transfer");
