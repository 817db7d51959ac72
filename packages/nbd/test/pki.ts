/** Certificates for the tests, made by OpenSSL, with the file names that libnbd and nbdkit expect in a folder. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

const KEYS = { ec: ['ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1'], rsa: ['rsa:2048'] } as const;

export interface Authority {
  /** The path of its certificate. */
  readonly path: string;
  /** Writes a certificate, its key, and the authority's own certificate into a folder. */
  sign(folder: string, role: 'client' | 'server', name: string, addresses?: readonly string[]): void;
}

/** Makes a certificate authority in its own folder. All keys that it signs are of the same kind. */
export function authority(folder: string, name = 'a test', kind: keyof typeof KEYS = 'ec'): Authority {
  mkdirSync(folder, { recursive: true });
  const createCertificate = (to: string, role: string, subject: string, ...more: string[]): void => {
    const files = ['-keyout', join(to, `${role}-key.pem`), '-out', join(to, `${role}-cert.pem`)];
    const args = ['-newkey', ...KEYS[kind], '-nodes', '-days', '2', ...files, '-subj', `/CN=${subject}`, ...more];
    execFileSync('openssl', ['req', '-x509', ...args], { cwd: folder, stdio: 'pipe' });
  };
  createCertificate(folder, 'ca', name);
  const path = join(folder, 'ca-cert.pem');
  return {
    path,
    sign(to, role, subject, addresses = ['127.0.0.1']) {
      mkdirSync(to, { recursive: true });
      const names = [`DNS:${subject}`, ...addresses.map((address) => `IP:${address}`)].join(',');
      const extensions = [
        'basicConstraints=critical,CA:FALSE',
        `extendedKeyUsage=${role}Auth`,
        `subjectAltName=${names}`,
      ];
      const added = extensions.flatMap((extension) => ['-addext', extension]);
      createCertificate(to, role, subject, ...added, '-CA', 'ca-cert.pem', '-CAkey', 'ca-key.pem');
      if (to !== folder) copyFileSync(path, join(to, 'ca-cert.pem'));
    },
  };
}
