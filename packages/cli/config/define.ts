/** What a configuration may say: the types of `nodeos.config.ts`. docs/config.md is the reference. */

/** An address that does not change. */
export interface StaticInterface {
  /** An IPv4 address with the length of its prefix: `192.168.1.10/24`. */
  readonly address: string;
  /** The router of the default route. Default: no default route by this interface. */
  readonly gateway?: string;
  /** More routes: the gateways by destination, such as `{ '10.0.0.0/8': '192.168.1.2' }`. */
  readonly routes?: Readonly<Record<string, string>>;
  /** Bytes of the largest packet, 576 to 65535. Default: the card's. */
  readonly mtu?: number;
}

export interface NetworkConfig {
  /**
   * What each interface gets, by its name (`eth0`) or its MAC address. Of several with DHCP, the first one that works
   * has the default route. Default: DHCP on the first interface with a server.
   */
  readonly interfaces?: Readonly<Record<string, 'dhcp' | StaticInterface>>;
  /** Addresses of name servers, at most 16. Default: those of the DHCP servers. */
  readonly dns?: readonly string[];
  /** The domain of names without a dot. Default: those of the DHCP servers. */
  readonly domain?: string;
}

/** A system. Everything is optional. Paths are relative to the folder of the file that names them. */
export interface NodeosConfig {
  /** The folder of the application. A list may have one entry. Default: the folder of the configuration. */
  readonly app?: string | readonly string[];
  /** A command that runs on this machine, in the application's folder, before the application is packed. */
  readonly build?: string;
  /** A start line, in place of `scripts.start`. */
  readonly start?: string;
  /** `copy` takes the folder's node_modules unchanged. */
  readonly modules?: 'install' | 'copy';
  /** The user that the application runs as. */
  readonly user?: 'app' | 'root';
  /** When the application is started again. */
  readonly restart?: 'never' | 'on-failure' | 'always';
  /** What the machine does when the application has ended. Default: that of the command line, else `reboot`. */
  readonly onexit?: 'reboot' | 'poweroff' | 'halt' | 'shell';
  /** Variables of the application, by name. */
  readonly env?: Readonly<Record<string, string>>;
  /** More files of the system: files and folders of this machine by their absolute paths in the system. */
  readonly files?: Readonly<Record<string, string>>;

  /** The name of the machine, as RFC 1123 has it. Default: the application's name. */
  readonly hostname?: string;
  /** How the machine gets its addresses. */
  readonly network?: 'dhcp' | 'off' | NetworkConfig;
  /** Names or addresses of time servers, at most 4. Default: none. */
  readonly timeServers?: readonly string[];

  /** The machine to build for. */
  readonly target?: 'x86_64' | 'aarch64' | 'i686' | 'armv7' | 'riscv64';
  /** The board to start on. Default: the target's first. */
  readonly board?: string;
  /** The version of Node.js, as `24.20.0` or `24`. Default: the pinned one. */
  readonly node?: string | number;
  /** Whose Node.js runs on musl. */
  readonly nodeBuild?: 'official' | 'musl';
  /** The C library. */
  readonly libc?: 'musl' | 'glibc';
  /** What serves malloc() on musl. */
  readonly allocator?: 'musl' | 'mimalloc';
  /** Folders with kernel configuration fragments (`*.config`). */
  readonly fragments?: readonly string[];
  /** What `nodeos build` makes if nothing is named. */
  readonly formats?: readonly string[];

  /** The memory of the machine that `nodeos start` starts, as `512M` or `1G`. */
  readonly memory?: string;
  /** Its processors, from 1. */
  readonly cpus?: number;
  /** Ports of this machine that lead to it: `[ADDRESS:]HOST:GUEST[/udp]`. */
  readonly publish?: readonly string[];
  /** The file that keeps what it writes to /data. Default: none. */
  readonly data?: string;
  /** More words of its kernel's command line. Default: none. */
  readonly append?: string;

  /** Remote caches by URL, in the order in which they are asked. */
  readonly remoteCaches?: readonly string[];
  /** Public keys that sign what a remote cache has, besides those of options and of the environment. */
  readonly trustedKeys?: readonly string[];
}

/** Returns the configuration unchanged. It lets an editor know the type. */
export const defineConfig = (config: NodeosConfig): NodeosConfig => config;
