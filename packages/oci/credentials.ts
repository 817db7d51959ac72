/**
 * Names and passwords for registries, from the files that `podman login`, `skopeo login` and `docker login` write, and
 * from the programs that these files name.
 * https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
 * https://docs.docker.com/reference/cli/docker/login/#credential-stores
 */
import { execFile } from 'node:child_process';
import { open } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { codeOf, messageOf, NodeosError } from '@nodeos/base';
import { objectIn } from './model.js';

export interface Credentials {
  readonly username: string;
  readonly password: string;
  /** The password is a token that is exchanged for others (OAuth 2). */
  readonly isIdentityToken?: boolean;
}

export type Environment = Readonly<Record<string, string | undefined>>;

interface AuthFile {
  readonly path: string;
  /** Docker's own file names servers in several ways, and has none for a repository. */
  readonly isDocker: boolean;
}

const MAX_FILE = 1 << 20;
const PROGRAM_MS = 30_000;
/** docker.io is under this name in all of them. */
const HUB_KEY = 'https://index.docker.io/v1/';
/** The name with which a program marks an identity token. */
const TOKEN_USER = '<token>';

/**
 * @param repository the most specific entry wins: `HOST/a/b`, `HOST/a`, `HOST`
 * @returns undefined if there are none
 * @throws NodeosError if a file cannot be read, or a program fails
 */
export async function credentialsFor(
  host: string,
  repository: string,
  environment: Environment = process.env,
): Promise<Credentials | undefined> {
  for (const file of authFiles(environment)) {
    const text = await readBounded(file.path);
    const found = text && (await credentialsIn(objectIn(text, file.path), file, host, repository));
    if (found) return found;
  }
  return undefined;
}

function authFiles({
  REGISTRY_AUTH_FILE,
  XDG_RUNTIME_DIR,
  XDG_CONFIG_HOME,
  DOCKER_CONFIG,
  HOME,
}: Environment): AuthFile[] {
  const home = HOME ?? homedir();
  const runtime = XDG_RUNTIME_DIR || `/run/containers/${process.getuid?.() ?? 0}`;
  const containers = REGISTRY_AUTH_FILE
    ? [REGISTRY_AUTH_FILE]
    : [
        join(runtime, XDG_RUNTIME_DIR ? 'containers/auth.json' : 'auth.json'),
        join(XDG_CONFIG_HOME || join(home, '.config'), 'containers/auth.json'),
      ];
  return [
    ...containers.map((path) => ({ path, isDocker: false })),
    { path: join(DOCKER_CONFIG || join(home, '.docker'), 'config.json'), isDocker: true },
  ];
}

async function readBounded(path: string): Promise<Buffer | undefined> {
  try {
    const handle = await open(path);
    try {
      const { size } = await handle.stat();
      if (size > MAX_FILE) throw new NodeosError(`${path} has ${size} bytes, more than the ${MAX_FILE} that are read`);
      return await handle.readFile();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined;
    if (error instanceof NodeosError) throw error;
    throw new NodeosError(`cannot read credentials from ${path}: ${messageOf(error)}`, { cause: error });
  }
}

async function credentialsIn(
  fields: Readonly<Record<string, unknown>>,
  file: AuthFile,
  host: string,
  repository: string,
): Promise<Credentials | undefined> {
  const [programs, auths] = [recordIn(fields, 'credHelpers'), recordIn(fields, 'auths')];
  const keys = keysFor(host, repository, file);
  const server = host === 'docker.io' ? HUB_KEY : host;
  const chosen = keys.map((key) => programs[key]).find((one) => typeof one === 'string');
  if (chosen !== undefined) return fromProgram(chosen, server);
  const { credsStore } = fields;
  const stored =
    typeof credsStore === 'string' && credsStore !== '' ? await fromProgram(credsStore, server) : undefined;
  if (stored) return stored;
  const byKey = new Map(Object.entries(auths).map(([key, value]) => [file.isDocker ? plainHost(key) : key, value]));
  for (const key of keys) {
    const found = entryOf(byKey.get(key), key, file.path);
    if (found) return found;
  }
  return undefined;
}

function keysFor(host: string, repository: string, { isDocker }: AuthFile): string[] {
  const hosts = host === 'docker.io' ? [host, HUB_KEY, plainHost(HUB_KEY)] : [host];
  if (isDocker) return hosts;
  const parts = repository.split('/');
  const scoped = parts.map((_, index) => `${host}/${parts.slice(0, parts.length - index).join('/')}`);
  return [...scoped, ...hosts];
}

/** `https://HOST/v1/` and `HOST` are the same server in Docker's file. */
const plainHost = (key: string): string => key.replace(/^https?:\/\//, '').replace(/\/.*$/s, '');

function entryOf(value: unknown, key: string, path: string): Credentials | undefined {
  const { auth, identitytoken, username, password } = recordIn({ value }, 'value');
  if (typeof identitytoken === 'string' && identitytoken !== '')
    return { username: '', password: identitytoken, isIdentityToken: true };
  if (typeof auth === 'string' && auth !== '') {
    const text = Buffer.from(auth, 'base64').toString();
    const colon = text.indexOf(':');
    if (colon < 0) throw new NodeosError(`${path}: the entry for ${key} is no name and password in Base64`);
    return { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') };
  }
  return typeof username === 'string' && typeof password === 'string' ? { username, password } : undefined;
}

function recordIn(fields: Readonly<Record<string, unknown>>, name: string): Readonly<Record<string, unknown>> {
  const value = fields[name];
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}

/** The server goes to the program's standard input, and the password comes from its output: nothing is in a command line. */
async function fromProgram(name: string, server: string): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  if (!/^[\w.-]+$/.test(name)) throw new NodeosError(`${JSON.stringify(name)} is no name of a credential program`);
  const { error, stdout } = await new Promise<{ error: Error | null; stdout: string }>((resolve) => {
    const child = execFile(program, ['get'], { timeout: PROGRAM_MS, maxBuffer: MAX_FILE }, (failed, output) =>
      resolve({ error: failed, stdout: output }),
    );
    child.stdin?.on('error', () => undefined).end(server);
  });
  if (error) {
    // All of these programs say it in these words, on standard output.
    if (/credentials not found/i.test(stdout)) return undefined;
    const hint = codeOf(error) === 'ENOENT' ? `install ${program}, or remove it from config.json` : undefined;
    const said = stdout.trim().slice(0, 500);
    throw new NodeosError(`${program} has no credentials for ${server}: ${said || messageOf(error).split('\n')[0]}`, {
      ...(hint === undefined ? {} : { hint }),
    });
  }
  const { Username, Secret } = objectIn(Buffer.from(stdout), `the output of ${program}`);
  if (typeof Username !== 'string' || typeof Secret !== 'string' || Secret === '') return undefined;
  return { username: Username, password: Secret, ...(Username === TOKEN_USER ? { isIdentityToken: true } : {}) };
}
