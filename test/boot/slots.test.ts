/** Slots of a disk, by SeaBIOS and OVMF: new ones are tried, and left; broken ones are passed by. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { currentBootState, STATE_COPIES } from '@nodeos/bootfs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LONG } from '../support.js';
import { booted, diskWithBoth, killed, type SlotDisk, type Way } from './slot-disk.js';

const BROKEN = Buffer.alloc(512);
/** Both firmwares, each with another drive. */
const WAYS: readonly Way[] = [
  { firmware: 'bios', drive: 'virtio' },
  { firmware: 'uefi', drive: 'usb' },
];

describe('slots', { timeout: LONG }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'nodeos-slots-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  let disk: SlotDisk;
  beforeAll(async () => {
    disk = await diskWithBoth(folder);
  }, LONG);

  it.each<Way & { tries: number }>([
    { firmware: 'bios', drive: 'sata', tries: 3 },
    { firmware: 'bios', drive: 'virtio', tries: 1 },
    { firmware: 'uefi', drive: 'nvme', tries: 3 },
    { firmware: 'uefi', drive: 'usb', tries: 1 },
  ])('a slot that never validates is left after its tries: $firmware, $drive, $tries', async ({ tries, ...way }) => {
    await disk.setState({ slot: 'b', tries });
    for (let left = tries - 1; left >= 0; left--) {
      expect(await booted(disk, way)).toMatchObject({ slot: 'b', usr: '5' });
      expect(await disk.state()).toMatchObject({ slot: 'b', tries: left });
    }
    expect(await booted(disk, way)).toMatchObject({ slot: 'a', usr: '4' });
    expect(await disk.state()).toMatchObject({ slot: 'a', sequence: tries + 2 });
  });

  it.each(WAYS)('a validated slot starts, and nothing is written: $firmware', async (way) => {
    await disk.setState({ slot: 'b', tries: 0, bIsValidated: true });
    const before = await disk.copies();
    expect(await booted(disk, way)).toMatchObject({ slot: 'b', usr: '5' });
    expect(await disk.copies()).toEqual(before);
  });

  it.each(WAYS)('a broken head, and broken copies of the state, are passed by: $firmware', async (way) => {
    await disk.setState({ slot: 'b', tries: 2 });
    await withBroken(disk.heads.b, async () => {
      const { slot, lines } = await booted(disk, way);
      expect(slot).toBe('a');
      expect(lines.join('\n')).toContain('NodeOS: slot b: its head is broken');
    });
    // That boot counted, in the second copy. Without it, the first one has the state before.
    expect((await disk.state()).tries).toBe(1);
    await disk.write(STATE_COPIES[1], BROKEN);
    expect((await booted(disk, way)).slot).toBe('b');
    expect(await disk.state()).toMatchObject({ slot: 'b', tries: 1, sequence: 2 });
    for (const offset of STATE_COPIES) await disk.write(offset, BROKEN);
    const { slot, lines } = await booted(disk, way);
    expect(slot).toBe('a');
    expect(lines.join('\n')).toContain('NodeOS: slot a: the default');
    expect(await disk.copies()).toEqual([BROKEN, BROKEN]);
  });

  it.each(WAYS)('without any kernel the loader says so: $firmware', async (way) => {
    await disk.setState({ slot: 'b', tries: 1 });
    const last = way.firmware === 'bios' ? /slot a: its head is broken/ : /no slot starts/;
    const said = await withBroken(disk.heads.a, () =>
      withBroken(disk.heads.b, () => killed(disk, way, { at: last, after: 100 })),
    );
    const lines = said.split(/[\r\n]+/).filter((line) => line.startsWith('NodeOS: '));
    expect(lines).toEqual([
      'NodeOS: slot b: its head is broken',
      'NodeOS: slot a: its head is broken',
      ...(way.firmware === 'uefi' ? ['NodeOS: no slot starts'] : []),
    ]);
  });

  it.each<Way & { kills: number; at?: RegExp }>([
    { firmware: 'bios', drive: 'sata', kills: 16 },
    { firmware: 'uefi', drive: 'nvme', kills: 4, at: /BdsDxe: starting/ },
  ])('a power cut leaves the old state or the new: $firmware, $drive', async ({ kills, at, ...way }) => {
    const tries = 100;
    await disk.setState({ slot: 'b', tries });
    let left = tries;
    for (let n = 1; n <= kills; n++) {
      await killed(disk, way, { ...(at ? { at } : {}), after: 100 * n });
      const current = currentBootState(await disk.copies());
      expect(current, `after ${n} power cuts`).toBeDefined();
      const state = current?.state ?? (await disk.state());
      expect(state.slot).toBe('b');
      expect([left, left - 1]).toContain(state.tries);
      expect(state.sequence).toBe(1 + tries - state.tries);
      left = state.tries;
    }
    expect(left).toBeLessThan(tries); // some came after the write
  });

  /** Destroys what is at a place of the disk for a while. */
  async function withBroken<T>(offset: number, use: () => Promise<T>): Promise<T> {
    const kept = await disk.read(offset, BROKEN.length);
    await disk.write(offset, BROKEN);
    return use().finally(() => disk.write(offset, kept));
  }
});
