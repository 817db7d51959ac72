/** The keys of a configuration: what they may be, where else they can be said, and what holds without them. */
import { formatOf } from '@nodeos/bootfs';
import { ENDS, RESTARTS, USERS } from '@nodeos/contract';
import { ALLOCATORS, NODE_BUILDS, pinnedNode } from '@nodeos/runtime';
import { boardsOf, BOARDS, DEFAULT_TARGET, targetOf, TARGETS } from '@nodeos/targets';
import { parsePublish } from '@nodeos/vm';
import {
  addressWithPrefix,
  domainName,
  guestPath,
  hostName,
  integer,
  listOf,
  machineAddress,
  matching,
  objectOf,
  oneOf,
  parsedBy,
  record,
  recordOf,
  text,
  variable,
  variableName,
  wrong,
  type Check,
} from './checks.js';
import type { NetworkConfig, NodeosConfig, StaticInterface } from './define.js';

export type KeyName = keyof NodeosConfig;
export type Values = { readonly [Name in KeyName]?: NodeosConfig[Name] };

export interface Key {
  readonly check: Check;
  /** What it may be, for docs/config.md. */
  readonly values: string;
  /** What holds without it. A function is given the values that are there. */
  readonly fallback?: unknown;
  /** How sources are combined. Default: the last one replaces the others. */
  readonly merge?: 'each' | 'append';
  /** The command-line option of the same meaning. */
  readonly option?: string;
  /** Options that make the key meaningless. If one is given, the configuration's value is not used. */
  readonly unless?: readonly string[];
  /** The environment variable of the same meaning: words apart by spaces or commas. */
  readonly variable?: string;
  /** Its texts are paths, relative to the folder of the file. */
  readonly isPath?: true;
}

export const DEFAULT_MEMORY = '256M';
/** Of a machine for a container's image: programs that do not know how much there is. */
export const CONTAINER_MEMORY = '512M';
export const DEFAULT_CPUS = 1;
/** What an application's machine publishes if nothing else is said. */
export const DEFAULT_PUBLISH = '8080:80';

const STATIC_INTERFACE = objectOf<StaticInterface>(
  {
    address: addressWithPrefix(1),
    gateway: machineAddress,
    routes: recordOf(addressWithPrefix(0), machineAddress),
    mtu: integer(576, 65535),
  },
  ['address'],
);

/** `eth0`, or a MAC address. */
const interfaceName = matching(
  /^([a-z][a-z0-9]{0,14}|[0-9a-f]{2}(:[0-9a-f]{2}){5})$/,
  'names of interfaces, as eth0 or 52:54:00:12:34:56',
);

const interfaceSetup: Check<'dhcp' | StaticInterface> = (value, place) =>
  value === 'dhcp'
    ? value
    : STATIC_INTERFACE(typeof value === 'string' ? wrong(place, value, '"dhcp" or { address: … }') : value, place);

const networkObject = objectOf<NetworkConfig>({
  interfaces: recordOf(interfaceName, interfaceSetup),
  dns: listOf(machineAddress, 16),
  domain: domainName,
});

const network: Check = (value, place) => {
  if (value === 'dhcp' || value === 'off') return value;
  return networkObject(
    typeof value === 'object' ? record(value, place) : wrong(place, value, '"dhcp", "off" or an object'),
    place,
  );
};

/** One folder, also as a list. */
const app: Check<string> = (value, place) => {
  const [folder, ...more] = Array.isArray(value) ? listOf(text)(value, place) : [text(value, place)];
  if (more.length > 0 || folder === undefined) wrong(place, value, 'one application: a system cannot run several yet');
  return folder;
};

const node: Check<string> = (value, place) =>
  matching(/^\d+(\.\d+){0,2}$/, 'a version such as 24.20.0 or 24')(
    typeof value === 'number' ? String(value) : value,
    place,
  );

const names = (rows: readonly { readonly name: string }[]): string[] => rows.map(({ name }) => name);
const alternatives = (list: readonly string[]): string => list.map((name) => `\`${name}\``).join(', ');
const choice = (list: readonly string[]): Pick<Key, 'check' | 'values'> => ({
  check: oneOf(list),
  values: alternatives(list),
});
const TEXTS = { check: listOf(text), values: 'a list of texts' } as const;
const LIBCS = ['musl', 'glibc'] as const;

const targetIn = ({ target = DEFAULT_TARGET }: Values): string => target;

/** In the order in which docs/config.md and `nodeos config` show them. */
export const KEYS: { readonly [Name in KeyName]-?: Key } = {
  app: { check: app, values: 'a folder', option: 'app', isPath: true, fallback: '.' },
  build: { check: text, values: 'a command' },
  start: { check: text, values: 'a start line' },
  modules: { ...choice(['install', 'copy']), fallback: 'install' },
  user: { ...choice(USERS), fallback: 'app' },
  restart: { ...choice(RESTARTS), fallback: 'on-failure' },
  onexit: choice(ENDS),
  env: { check: recordOf(variableName, variable), values: 'texts by name', merge: 'each' },
  files: {
    check: recordOf(guestPath, text),
    values: 'paths of this machine by paths of the system',
    merge: 'each',
    isPath: true,
  },

  hostname: { check: hostName, values: 'a name' },
  network: { check: network, values: '`dhcp`, `off`, or an object', fallback: 'dhcp' },
  timeServers: { check: listOf(domainName, 4), values: 'names or addresses', fallback: [] },

  target: { ...choice(names(TARGETS)), option: 'target', fallback: DEFAULT_TARGET },
  board: {
    ...choice(names(BOARDS)),
    option: 'machine',
    unless: ['target'],
    fallback: (values: Values) => boardsOf(targetOf(targetIn(values)))[0]?.name,
  },
  node: {
    check: node,
    values: 'a version',
    option: 'node',
    unless: ['node-build'],
    fallback: (values: Values) => pinnedNode(targetOf(targetIn(values))).version,
  },
  nodeBuild: { ...choice(NODE_BUILDS), option: 'node-build', unless: ['node', 'libc'], fallback: NODE_BUILDS[0] },
  libc: { ...choice(LIBCS), option: 'libc', fallback: LIBCS[0] },
  allocator: { ...choice(ALLOCATORS), option: 'allocator', unless: ['libc'], fallback: ALLOCATORS[0] },
  fragments: { ...TEXTS, values: 'a list of folders', option: 'fragment', isPath: true, fallback: [] },
  formats: {
    check: listOf(parsedBy(formatOf, 'a format, as disk or iso.xz: docs/media.md has them all')),
    values: 'a list of [formats](media.md#formats)',
    fallback: [],
  },

  memory: {
    check: matching(/^[1-9]\d{0,6}[MG]$/, 'a size such as 256M or 1G'),
    values: 'a size',
    option: 'memory',
    fallback: DEFAULT_MEMORY,
  },
  cpus: { check: integer(1, 255), values: 'a number from 1 to 255', option: 'cpus', fallback: DEFAULT_CPUS },
  publish: {
    check: listOf(parsedBy(parsePublish, '[ADDRESS:]HOST:GUEST[/udp], as 8080:80')),
    values: 'a list of `[ADDRESS:]HOST:GUEST[/udp]`',
    option: 'publish',
    unless: ['no-network'],
    fallback: [DEFAULT_PUBLISH],
  },
  data: { check: text, values: 'a file', option: 'data', unless: ['format'], isPath: true },
  append: { check: text, values: 'words', option: 'append' },

  remoteCaches: {
    ...TEXTS,
    values: 'a list of URLs',
    option: 'remote',
    unless: ['no-remote'],
    variable: 'NODEOS_REMOTE_CACHE',
    fallback: [],
  },
  trustedKeys: { ...TEXTS, option: 'trust', variable: 'NODEOS_TRUSTED_KEYS', merge: 'append', fallback: [] },
};

export const KEY_NAMES = Object.keys(KEYS) as readonly KeyName[];
