// What is shown before a file is open.

import type { JSX } from "preact";
import { useAppState } from "../parts/use-app.ts";

/** How to begin. */
export function Welcome(): JSX.Element {
  const { wanted } = useAppState();
  return (
    <div class="welcome">
      <h2>Drop a migration stream or a CPR state here, or two to compare</h2>
      <p>
        What QEMU wrote, as it is or compressed (gzip, zstd, xz, lz4, bzip2, lzop), saved by libvirt, or in a snapshot
        of a qcow2 image. Nothing leaves this page: its policy allows no connection.
      </p>
      {wanted !== undefined && wanted.files.length > 0 && (
        <p role="status">
          The address names a place in <bdi>{wanted.files.join(", ")}</bdi>: drop that file to go there.
        </p>
      )}
    </div>
  );
}
