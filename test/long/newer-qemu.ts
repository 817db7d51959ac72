/**
 * QEMU for aarch64 from Debian's next suite, unpacked beside the host's own with all its libraries. It has machines that
 * an older one lacks.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fromNextSuite } from './next-suite.js';

/** Its libraries come with their own loader. The host's modules are of another version. */
const WRAPPER = `#!/bin/sh
root="$(dirname "$(readlink -f "$0")")/root"
export QEMU_MODULE_DIR=/nonexistent
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" \\
  "$root/usr/bin/qemu-system-aarch64" -L "$root/usr/share/qemu" "$@"
`;

/** @returns a folder for PATH whose `qemu-system-aarch64` is the newer one; it stays for the next time */
export const newerQemu = (): Promise<string> =>
  fromNextSuite('qemu', 'qemu-system-arm', (folder) =>
    writeFile(join(folder, 'qemu-system-aarch64'), WRAPPER, { mode: 0o755 }),
  );
