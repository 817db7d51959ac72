/** Certificates for the tests, made by OpenSSL, with the names that libnbd and nbdkit look for in a folder. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'];

export interface Authority {
  /** Its certificate. */
  readonly path: string;
  /** Writes a certificate, its key, and the authority's own certificate into a folder. */
  sign(folder: string, who: 'client' | 'server', name: string, addresses?: readonly string[]): void;
}

/** A new certificate authority, in a folder of its own. */
export function authority(folder: string, name = 'a test'): Authority {
  const openssl = (...args: string[]): void => void execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' });
  mkdirSync(folder, { recursive: true });
  openssl('req', '-x509', ...NEW_KEY, '-keyout', 'ca-key.pem', '-out', 'ca-cert.pem', '-subj', `/CN=${name}`);
  const path = join(folder, 'ca-cert.pem');
  return {
    path,
    sign(to, who, subject, addresses = ['127.0.0.1']) {
      mkdirSync(to, { recursive: true });
      const names = [`DNS:${subject}`, ...addresses.map((address) => `IP:${address}`)].join(',');
      const files = ['-keyout', join(to, `${who}-key.pem`), '-out', join(to, `${who}-cert.pem`)];
      const signed = ['-addext', 'basicConstraints=critical,CA:FALSE', '-CA', 'ca-cert.pem', '-CAkey', 'ca-key.pem'];
      openssl(
        'req',
        '-x509',
        ...NEW_KEY,
        ...files,
        '-subj',
        `/CN=${subject}`,
        '-addext',
        `subjectAltName=${names}`,
        ...signed,
      );
      if (to !== folder) copyFileSync(path, join(to, 'ca-cert.pem'));
    },
  };
}
