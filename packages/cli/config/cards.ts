/** The network cards of an emulated machine, so that its configured addresses work as they will on the real network. */
import type { Card, Subnet } from '@nodeos/vm';
import type { NetworkConfig, NodeosConfig, StaticInterface } from './define.js';

/** The longest prefix of a network with room for the guest, the host and a name server. */
const LONGEST_PREFIX = 29;

/** @returns a card for each configured interface, in the order of their names; one card if none is configured */
export function cardsOf(network: NodeosConfig['network']): Card[] {
  const { interfaces = {}, dns = [] } = typeof network === 'object' ? network : {};
  const entries = Object.entries(interfaces).sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
  const dynamic = entries.filter(([, setup]) => setup === 'dhcp').map(([name]) => name);
  const cards = entries.map(([name, setup]) => ({
    ...(name.includes(':') ? { mac: name } : {}),
    ...(setup === 'dhcp' ? dynamicSubnet(dynamic.indexOf(name)) : subnetFor(setup, dns)),
  }));
  return cards.length > 0 ? cards : [{}];
}

/** The network of a card with DHCP. The first one is QEMU's own, and the others are laid out as that one. */
function dynamicSubnet(index: number): { subnet?: Subnet } {
  if (index === 0) return {};
  const at = (host: number): string => `10.0.${2 + (index % 250)}.${host}`;
  return { subnet: { network: `${at(0)}/24`, guest: at(15), host: at(2), nameServer: at(3) } };
}

/** A network with the guest at its address, and the host as its router. */
function subnetFor(
  { address: text, gateway }: StaticInterface,
  dns: NonNullable<NetworkConfig['dns']>,
): { subnet?: Subnet } {
  const [guest = '', length = ''] = text.split('/');
  const prefix = Number(length);
  if (prefix > LONGEST_PREFIX) return {};
  const size = 2 ** (32 - prefix);
  const base = Math.floor(numberOf(guest) / size) * size;
  const isUsable = (address: string, ...others: string[]): boolean =>
    numberOf(address) > base && numberOf(address) < base + size - 1 && ![guest, ...others].includes(address);
  const free = [2, 3, 4, 5].map((offset) => textOf(base + offset));
  // A router that is the name server as well: QEMU's name server takes packets for everywhere, as its host does.
  const nameServer = dns.find((address) => isUsable(address)) ?? free.find((one) => isUsable(one, gateway ?? '')) ?? '';
  const host = [gateway ?? '', ...free].find((one) => isUsable(one, nameServer)) ?? '';
  return { subnet: { network: `${textOf(base)}/${prefix}`, guest, host, nameServer } };
}

const numberOf = (address: string): number => address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);

const textOf = (number: number): string =>
  [24, 16, 8, 0].map((shift) => Math.floor(number / 2 ** shift) % 256).join('.');
