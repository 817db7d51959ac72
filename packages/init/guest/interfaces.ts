/** Sets up the network as the configuration says: static addresses, DHCP on one interface, or what network.ts finds. */
import { networkMask, type Route } from './dhcp.js';
import { resolvConf, setAddress, type Lease, type Log } from './lease.js';
import type { NetworkSetup, StaticSetup } from './machine.js';
import {
  awaitInterfaces,
  awaitRunning,
  bringInterfaceUp,
  bringUp,
  hasKernelSetup,
  obtain,
  withControl,
  type Amend,
} from './network.js';
import type { Syscalls } from './syscalls.js';

/**
 * Brings the network up. Doing it again changes nothing that is right already.
 * @param log receives a message for each part that is left out
 * @returns the lease; undefined if there is none to renew
 * @throws Error naming each interface that failed, after the others have been set up
 */
export function setUpNetwork(
  sys: Syscalls,
  cmdline: ReadonlyMap<string, string>,
  hostName: string,
  setup: NetworkSetup,
  log: Log,
): Lease | undefined {
  if (setup.interfaces.length === 0 || hasKernelSetup(cmdline))
    return bringUp(sys, cmdline, hostName, log, amendBy(setup));
  return withControl(sys, (control) => {
    bringInterfaceUp(sys, control, 'lo');
    const names = awaitInterfaces(sys);
    const failures: string[] = [];
    const found: string[] = [];
    let lease: Lease | undefined;
    const hasDhcp = setup.interfaces.some((one) => one.setup === 'dhcp');
    if (!hasDhcp) sys.write('/etc/resolv.conf', resolvConf(setup.dns ?? [], setup.domain));
    for (const { interface: wanted, setup: one } of setup.interfaces) {
      try {
        const name = nameOf(sys, wanted, names);
        bringInterfaceUp(sys, control, name);
        if (one === 'dhcp') lease = obtain(sys, control, name, hostName, log, amendBy(setup));
        else setStatic(sys, control, name, one, log);
        found.push(name);
      } catch (error) {
        failures.push(`${wanted}: ${(error as Error).message}`);
      }
    }
    // An address without a link is no failure: a cable may be plugged in later.
    const linked = found.filter((name) => sys.read(`/sys/class/net/${name}/carrier`).toString().trim() === '1');
    for (const name of linked) awaitRunning(sys, [name]);
    if (failures.length > 0) throw new Error(failures.join('; '));
    return lease;
  });
}

/** Name servers, the domain and a default route of the configuration replace those of a DHCP server. */
export function amendBy({ interfaces, dns, domain }: NetworkSetup): Amend {
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
