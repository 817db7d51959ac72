/** How long firmware takes to an application's first answer, against QEMU that is given the kernel, and to our first word. */
import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { file, partitions } from '@nodeos/block';
import { HEAD_LENGTH } from '@nodeos/bootfs';
import { qemuArguments, type Medium } from '@nodeos/vm';
import { systemOf } from 'nodeos';
import {
  answering,
  APP,
  board,
  bootOurs,
  built,
  machine,
  note,
  round,
  target,
  type Context,
  type Row,
} from './machines.js';
import { consoleOf, median } from './measure.js';

type Kind = Pick<Medium, 'drive' | 'firmware'> & { readonly name: string; readonly format: 'disk' | 'iso' };

const KINDS: readonly Kind[] = [
  { name: 'disk by the BIOS', format: 'disk', drive: 'virtio', firmware: 'bios' },
  { name: 'disk by UEFI', format: 'disk', drive: 'virtio', firmware: 'uefi' },
  { name: 'CD by the BIOS', format: 'iso', drive: 'cdrom', firmware: 'bios' },
  { name: 'CD by UEFI', format: 'iso', drive: 'cdrom', firmware: 'uefi' },
];

/** @returns the path of a copy of the disk whose slots are empty: our loader says so, and this is all that it does */
async function emptyDisk(disk: string, folder: string): Promise<string> {
  const path = join(folder, 'empty.img');
  await copyFile(disk, path);
  const device = await file(path);
  try {
    for (const { name, offset } of await partitions(device))
      if (name?.startsWith('boot-') === true) await device.write?.(new Uint8Array(HEAD_LENGTH), offset);
  } finally {
    await device.close();
  }
  return path;
}

/** @returns seconds from QEMU's start to the first word of our loader: the time of the firmware alone */
async function toOurLoader(context: Context, path: string, firmware: Medium['firmware']): Promise<number> {
  const { accelerator, memory, cpus, publish } = machine(context, '');
  const options = { board, accelerator, memory, cpus, publish };
  const args = qemuArguments({ ...options, medium: { path, drive: 'virtio', firmware } }, { ports: {} });
  const { spawned, seen } = await consoleOf(board.emulator.program, args, (text) => text.includes('NodeOS: '), 120);
  return (seen - spawned) / 1000;
}

export async function media(context: Context): Promise<Row> {
  const system = await systemOf(target, { app: APP });
  const [[disk], [iso]] = [system.format('disk').artifacts, system.format('iso').artifacts];
  const result = await built(disk, iso);
  const paths = { disk: result.path(disk), iso: result.path(iso) };
  const folder = await mkdtemp(join(tmpdir(), 'nodeos-bench-media-'));
  const empty = await emptyDisk(paths.disk, folder);
  const plain: number[] = [];
  const firmwares = { bios: [] as number[], uefi: [] as number[] };
  const times = new Map(KINDS.map(({ name }) => [name, [] as number[]]));
  const runs = [
    async () => void plain.push((await answering(bootOurs(context))).byte),
    ...KINDS.map(({ name, format, drive, firmware }) => async () => {
      const medium = { path: paths[format], drive, firmware };
      const { byte } = await answering(bootOurs(context, { medium, usr: undefined }));
      times.get(name)?.push(byte);
    }),
    async () => void firmwares.bios.push(await toOurLoader(context, empty, 'bios')),
    async () => void firmwares.uefi.push(await toOurLoader(context, empty, 'uefi')),
  ];
  for (let run = 0; run < context.runs; run++) {
    note(`boot media, round ${run + 1} of ${context.runs}`);
    for (let turn = 0; turn < runs.length; turn++) await runs[(run + turn) % runs.length]?.();
  }
  await rm(folder, { recursive: true });
  const rows = [...times].flatMap(([name, list]) => [
    [`${name}, to first HTTP byte, s`, round(median(list))],
    [`${name}, more than with QEMU's -kernel, s`, round(median(list) - median(plain))],
  ]);
  return {
    "QEMU's -kernel, to first HTTP byte, s": round(median(plain)),
    'the BIOS alone, to the first word of our loader, s': round(median(firmwares.bios)),
    'UEFI alone, to the first word of our loader, s': round(median(firmwares.uefi)),
    ...(Object.fromEntries(rows) as Row),
  };
}
