/**
 * A simulated machine: a table of files, a clock that only moves during waits, and a trace. Every call that changes the
 * system adds one line to the trace, in order.
 */
import { PATHS, SYSTEM_VERSION } from '@nodeos/contract';
import { constants } from 'node:os';
import { SyscallError, type Syscalls } from '../guest/syscalls.js';

const AF_NETLINK = 16;

/** @returns the replies to a datagram */
export type Wire = (datagram: Buffer, to: string, port: number) => readonly Buffer[];

/** A machine with 100 MiB of free memory, a root in the initramfs, and three capabilities. */
const MACHINE = {
  '/proc/cmdline': 'console=ttyS0 quiet\n',
  '/proc/meminfo': 'MemTotal:         230000 kB\nMemFree:           90000 kB\nMemAvailable:     102400 kB\n',
  '/proc/mounts': 'rootfs / rootfs rw 0 0\nproc /proc proc rw 0 0\n',
  '/proc/sys/kernel/cap_last_cap': '2\n',
};

export class Recorder implements Syscalls {
  readonly trace: string[] = [];
  readonly files: Map<string, string>;
  /** Microseconds since boot. */
  time = 2_000_000;
  /** Seconds since 1970; later than any sources. */
  date = 4_000_000_000;
  wire: Wire = () => [];
  /** Calls that fail, by the start of their trace line, with a negated errno. */
  readonly failures = new Map<string, number>();
  /** What the kernel writes into a request's argument, after the interface's name. */
  readonly answers = new Map<number, Buffer>();
  readonly sent: { readonly bytes: Buffer; readonly to: string; readonly at: number }[] = [];
  readonly ioctls: { readonly request: number; readonly argument: Buffer | number }[] = [];
  /** The environment of the program that replaced the process. */
  executed: Readonly<Record<string, string>> | undefined;
  /** The bytes of devices. */
  readonly disks = new Map<string, Buffer>();
  readonly #opened = new Map<number, string>();
  #next = 10;
  #queue: Buffer[] = [];

  constructor(files: Readonly<Record<string, string>> = {}) {
    this.files = new Map(Object.entries({ ...MACHINE, ...files }));
  }

  /** The lines of the trace that start with one of these words. */
  linesOf(...words: string[]): string[] {
    return this.trace.filter((line) => words.includes(line.split(' ')[0] ?? ''));
  }

  #record(line: string): void {
    this.trace.push(line);
    for (const [start, error] of this.failures) {
      if (line.startsWith(start)) throw new SyscallError(line.split(' ')[0] ?? '', error);
    }
  }

  #recordOpen(line: string): number {
    const fd = this.#next++;
    this.#record(`${line} = ${fd}`);
    return fd;
  }

  mount(source: string, target: string, type: string, flags: number, data: string): void {
    this.#record(`mount ${target} ${source} ${type} ${flags} ${data}`);
  }

  ioctl(fd: number, request: number, argument: Buffer | number): void {
    this.ioctls.push({ request, argument: typeof argument === 'number' ? argument : Buffer.from(argument) });
    const text = typeof argument === 'number' ? String(argument) : argument.toString('hex').replace(/(00)+$/, '');
    this.#record(`ioctl ${fd} 0x${request.toString(16)} ${text}`);
    if (typeof argument !== 'number') this.answers.get(request)?.copy(argument, 16);
  }

  socket(domain: number, type: number, protocol: number): number {
    return this.#recordOpen(`socket ${domain} ${type} ${protocol}`);
  }

  bind(fd: number, address: Buffer): void {
    this.#record(`bind ${fd} ${socketName(address)}`);
  }

  setsockopt(fd: number, level: number, name: number, value: Buffer): void {
    this.#record(`setsockopt ${fd} ${level} ${name} ${value.toString('hex')}`);
  }

  send(fd: number, bytes: Buffer, address: Buffer): void {
    if (address.readUInt16LE(0) === AF_NETLINK) {
      this.#queue.push(this.#route(bytes));
      return;
    }
    const to = socketName(address);
    this.sent.push({ bytes: Buffer.from(bytes), to, at: this.time });
    this.#record(`send ${fd} ${to}`);
    this.#queue.push(...this.wire(Buffer.from(bytes), to, address.readUInt16BE(2)));
  }

  /** The kernel's reply to a route request. */
  #route(bytes: Buffer): Buffer {
    const answer = Buffer.alloc(36 + bytes.length);
    answer.writeUInt16LE(2, 4); // NLMSG_ERROR
    try {
      this.#record(`route ${routeName(bytes)}`);
    } catch (error) {
      answer.writeInt32LE(-constants.errno[(error as SyscallError).code as 'EINVAL'], 16);
    }
    return answer;
  }

  receive(_fd: number, bytes: Buffer, timeout: number): number {
    const datagram = this.#queue.shift();
    if (!datagram) {
      this.time += Math.max(0, Math.ceil(timeout)) * 1000;
      return -1;
    }
    this.time += 1000;
    return datagram.copy(bytes);
  }

  duplicate(from: number, to: number): void {
    this.#record(`duplicate ${from} ${to}`);
  }

  setHostName(name: string): void {
    this.#record(`setHostName ${name}`);
  }

  setClock(seconds: number): void {
    this.#record(`setClock ${seconds}`);
    this.date = seconds;
  }

  setIdentity(uid: number, gid: number, groups: readonly number[] = []): void {
    this.#record(['setIdentity', uid, gid, ...groups].join(' '));
  }

  control(option: number, value: number): void {
    this.#record(`control ${option} ${value}`);
  }

  setFilter(program: Buffer): void {
    this.#record(`setFilter ${program.length / 8}`);
  }

  unshare(flags: number): void {
    this.#record(`unshare 0x${flags.toString(16)}`);
  }

  chroot(path: string): void {
    this.#record(`chroot ${path}`);
  }

  chdir(path: string): void {
    this.#record(`chdir ${path}`);
  }

  execute(path: string, args: readonly string[], environment: Readonly<Record<string, string>>): never {
    this.#record(`execute ${path} ${JSON.stringify(args)}`);
    this.executed = environment;
    throw new Error('it does not return');
  }

  executeOther(path: string, args: readonly string[], environment: Readonly<Record<string, string>>): never {
    this.#record(`executeOther ${path} ${JSON.stringify(args)}`);
    this.executed = environment;
    throw new Error('it does not return');
  }

  sleep(milliseconds: number): void {
    this.time += milliseconds * 1000;
  }

  now(): number {
    return this.time;
  }

  clock(): number {
    return this.date;
  }

  usedBytes(): number {
    return 3 << 20;
  }

  open(path: string, flags: number): number {
    const fd = this.#recordOpen(`open ${path} ${flags}`);
    this.#opened.set(fd, path);
    return fd;
  }

  close(fd: number): void {
    this.#record(`close ${fd}`);
  }

  readAt(fd: number, bytes: Buffer, offset: number): void {
    this.disks.get(this.#opened.get(fd) ?? '')?.copy(bytes, 0, offset);
  }

  writeAt(fd: number, bytes: Buffer, offset: number): void {
    this.#record(`writeAt ${fd} ${bytes.length} ${offset}`);
    const disk = this.disks.get(this.#opened.get(fd) ?? '');
    if (disk) bytes.copy(disk, offset);
  }

  sync(fd: number): void {
    this.#record(`sync ${fd}`);
  }

  addressOf(): number {
    return 0x1000;
  }

  chown(fd: number, uid: number, gid: number): void {
    this.#record(`chown ${fd} ${uid} ${gid}`);
  }

  print(fd: number, text: string): void {
    // Times do not belong in the trace.
    this.#record(`print ${fd} ${text.trimEnd().replace(/"us":\d+,|,"took":\d+/g, '')}`);
  }

  exists(path: string): boolean {
    return this.files.has(path) || this.list(path).length > 0;
  }

  list(path: string): string[] {
    const names = [...this.files.keys()].filter((name) => name.startsWith(`${path}/`));
    return [...new Set(names.map((name) => name.slice(path.length + 1).split('/')[0] ?? ''))].sort();
  }

  read(path: string): Buffer {
    const content = this.files.get(path);
    if (content === undefined) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    return Buffer.from(content);
  }

  readLine(path: string): string {
    return this.read(path).toString().split('\n')[0] ?? '';
  }

  readLink(path: string): string {
    return this.read(path).toString();
  }

  write(path: string, content: string): void {
    this.#record(`write ${path} ${JSON.stringify(content)}`);
    this.files.set(path, content);
  }

  mkdir(path: string, mode: number): void {
    this.#record(`mkdir ${path} ${mode.toString(8)}`);
  }

  remove(path: string): void {
    this.#record(`remove ${path}`);
    this.files.delete(path);
  }

  symlink(target: string, path: string): void {
    this.#record(`symlink ${path} ${target}`);
  }
}

/** struct sockaddr_in: family, port in network order, address. */
function socketName(address: Buffer): string {
  if (address.length !== 16 || address.readUInt16LE(0) !== 2) throw new Error('not a sockaddr_in');
  return `${[...address.subarray(4, 8)].join('.')}:${address.readUInt16BE(2)}`;
}

/** struct nlmsghdr, struct rtmsg, struct rtattr: in the notation of `ip route`. */
function routeName(bytes: Buffer): string {
  if (bytes.readUInt32LE(0) !== bytes.length) throw new Error('not as long as it says');
  const verb = bytes.readUInt16LE(4) === 24 ? 'replace' : 'delete';
  const attributes = new Map<number, Buffer>();
  for (let at = 28; at < bytes.length; at += bytes.readUInt16LE(at))
    attributes.set(bytes.readUInt16LE(at + 2), bytes.subarray(at + 4, at + bytes.readUInt16LE(at)));
  const to = [...(attributes.get(1) ?? [0, 0, 0, 0])].join('.');
  const [via, metric] = [attributes.get(5), attributes.get(6)];
  const way = `${via ? ` via ${[...via].join('.')}` : ''} dev ${attributes.get(4)?.readInt32LE() ?? ''}`;
  return `${verb} ${to}/${bytes[17] ?? ''}${way}${metric ? ` metric ${metric.readUInt32LE()}` : ''}`;
}

/** The file that describes the application. */
export const system = (changes: object = {}): Record<string, string> => ({
  [PATHS.system]: JSON.stringify({
    ...{ version: SYSTEM_VERSION, name: 'web', main: '/a.js', args: [], nodeArgs: [], env: {}, first: [], cwd: '/app' },
    ...{ user: 'app', restart: 'on-failure' },
    ...changes,
  }),
});

/** The files of a machine with one wired interface. */
export const wiredMachine = (name = 'eth0', carrier = '1'): Record<string, string> => ({
  '/sys/class/net/lo/address': '00:00:00:00:00:00\n',
  [`/sys/class/net/${name}/address`]: '52:54:00:12:34:56\n',
  [`/sys/class/net/${name}/carrier`]: `${carrier}\n`,
  [`/sys/class/net/${name}/operstate`]: 'up\n',
  [`/sys/class/net/${name}/ifindex`]: '2\n',
  [`/sys/class/net/${name}/device/vendor`]: '0x1af4\n',
});

export const MAC = Buffer.from('525400123456', 'hex');

/** The descriptor that PID 1 passes on if there is an event port. */
export const EVENT_PORT = { '/proc/self/fd/4': '/dev/vport1p1' };
