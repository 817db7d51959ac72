/** Sets up the network as the configuration says: static addresses, DHCP, or what network.ts finds. */
import { networkMask, type Route } from './dhcp.js';
import { isDue, leasesIn, resolvConf, setAddress, type Lease, type Log } from './lease.js';
import type { InterfaceSetup, NetworkSetup, StaticSetup } from './machine.js';
import {
  awaitInterfaces,
  awaitRunning,
  bringInterfaceUp,
  bringUp,
  hasKernelSetup,
  linkDeadline,
  obtain,
  renew,
  withControl,
  type Amend,
} from './network.js';
import type { Syscalls } from './syscalls.js';

/** What a look after the network has found. */
export interface Network {
  /** The leases that are held and are not to be renewed yet. */
  readonly kept: readonly Lease[];
  /** Those that are new, or were renewed. */
  readonly renewed: readonly Lease[];
  /** What failed: `eth0: no link`. */
  readonly failures: readonly string[];
}

/** The metrics of interfaces with DHCP are that far apart, in the order of the configuration. */
const METRIC_STEP = 100;
/** A route does not count while its interface has no link. */
const IGNORE_UNLINKED = '/proc/sys/net/ipv4/conf/all/ignore_routes_with_linkdown';

/**
 * Brings the network up, and later looks after it: renews leases that are due, and tries again what has failed. Doing it
 * again changes nothing that is right already. An interface that fails does not hold up the others.
 * @param log receives a message for each part that is left out
 */
export function setUpNetwork(
  sys: Syscalls,
  cmdline: ReadonlyMap<string, string>,
  hostName: string,
  setup: NetworkSetup,
  log: Log,
): Network {
  const upkeep = new Upkeep(sys, hostName, setup, log);
  if (setup.interfaces.length === 0 || hasKernelSetup(cmdline)) upkeep.findOne(cmdline);
  else withControl(sys, (control) => upkeep.setUpAll(control));
  return upkeep;
}

class Upkeep implements Network {
  readonly kept: Lease[] = [];
  readonly renewed: Lease[] = [];
  readonly failures: string[] = [];
  readonly #held: readonly Lease[];
  readonly #amend: Amend;

  constructor(
    private readonly sys: Syscalls,
    private readonly hostName: string,
    private readonly setup: NetworkSetup,
    private readonly log: Log,
  ) {
    this.#held = leasesIn(sys);
    this.#amend = amendBy(setup);
  }

  /** The first interface with a DHCP server, or what the kernel has set up. */
  findOne(cmdline: ReadonlyMap<string, string>): void {
    const { sys, hostName, log } = this;
    const [lease] = this.#held;
    const find = (): Lease | undefined => bringUp(sys, cmdline, hostName, log, this.#amend);
    this.#attempt(lease?.interface, () => this.#keep(lease, find));
  }

  /** The interfaces of the configuration. */
  setUpAll(control: number): void {
    const { sys, setup } = this;
    bringInterfaceUp(sys, control, 'lo');
    const names = awaitInterfaces(sys);
    const dynamic = setup.interfaces.filter((one) => one.setup === 'dhcp');
    if (this.#held.length === 0) sys.write('/etc/resolv.conf', resolvConf([setup]));
    if (dynamic.length > 1) this.#attempt(undefined, () => sys.write(IGNORE_UNLINKED, '1'));
    // All are brought up before the first one is set up, so that their links come up at the same time.
    const up = setup.interfaces.flatMap((one) => {
      const name = this.#attempt(one.interface, () => {
        const found = nameOf(sys, one.interface, names);
        bringInterfaceUp(sys, control, found);
        return found;
      });
      return name === undefined ? [] : [{ ...one, name, metric: dynamic.indexOf(one) * METRIC_STEP }];
    });
    const linkBy = linkDeadline(sys);
    for (const one of up) this.#attempt(one.interface, () => this.#setUp(control, one, linkBy));
    // An address without a link is no failure: a cable may be plugged in later.
    const linked = up.filter(({ name }) => sys.read(`/sys/class/net/${name}/carrier`).toString().trim() === '1');
    for (const { name } of linked) awaitRunning(sys, [name]);
  }

  #setUp(control: number, { name, setup, metric }: Link, linkBy: number): void {
    const { sys, hostName, log } = this;
    if (setup !== 'dhcp') return setStatic(sys, control, name, setup, log);
    const held = this.#held.find((lease) => lease.interface === name);
    const options = { amend: this.#amend, linkBy, metric };
    this.#keep(held, () => obtain(sys, control, name, hostName, log, options));
  }

  /** @param find finds a lease if none is held */
  #keep(lease: Lease | undefined, find: () => Lease | undefined): void {
    const { sys, hostName, log } = this;
    if (lease && !isDue(sys, lease)) return void this.kept.push(lease);
    const found = lease ? renew(sys, lease, hostName, log, this.#amend) : find();
    if (found) this.renewed.push(found);
  }

  /** Does something about an interface, or about all of them. A failure is noted. */
  #attempt<T>(subject: string | undefined, work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      const message = (error as Error).message;
      this.failures.push(subject === undefined ? message : `${subject}: ${message}`);
      return undefined;
    }
  }
}

/** An interface that is there and up. */
interface Link extends Pick<InterfaceSetup, 'setup'> {
  readonly name: string;
  readonly metric: number;
}

/** Name servers, the domain and a default route of the configuration replace those of a DHCP server. */
function amendBy({ interfaces, dns, domain }: NetworkSetup): Amend {
  const hasGateway = interfaces.some(({ setup }) => setup !== 'dhcp' && setup.gateway !== undefined);
  return (reply) => ({
    ...reply,
    ...(dns === undefined ? {} : { dns }),
    ...(domain === undefined ? {} : { domain }),
    ...(hasGateway && reply.routes ? { routes: reply.routes.filter(({ prefix }) => prefix > 0) } : {}),
  });
}

/** The name of an interface that is told by its name or its MAC address. */
function nameOf(sys: Syscalls, wanted: string, names: readonly string[]): string {
  const addressOf = (name: string): string => sys.read(`/sys/class/net/${name}/address`).toString().trim();
  const found = names.find((name) => name === wanted || addressOf(name) === wanted);
  if (found !== undefined) return found;
  throw new Error(
    names.length === 0 ? 'there is no network interface' : `there is no such interface, but ${names.join(', ')}`,
  );
}

function setStatic(sys: Syscalls, control: number, name: string, setup: StaticSetup, log: Log): void {
  const { address, prefix, gateway, mtu } = setup;
  const byGateway: Route[] = gateway === undefined ? [] : [{ destination: '0.0.0.0', prefix: 0, gateway }];
  const parts = {
    address,
    mask: networkMask(prefix),
    routes: [...setup.routes, ...byGateway],
    ...(mtu === undefined ? {} : { mtu }),
  };
  setAddress(sys, control, name, parts, (subject, work) => {
    try {
      work();
    } catch (error) {
      log(`${name}: the ${subject} is left out: ${(error as Error).message}`);
    }
  });
}
