/** How long firmware takes to an application's first answer, against QEMU that is given the kernel. */
import type { Medium } from '@nodeos/vm';
import { systemOf } from 'nodeos';
import { answering, APP, bootOurs, built, note, round, target, type Context, type Row } from './machines.js';
import { median } from './measure.js';

type Kind = Pick<Medium, 'drive' | 'firmware'> & { readonly name: string; readonly format: 'disk' | 'iso' };

const KINDS: readonly Kind[] = [
  { name: 'disk by the BIOS', format: 'disk', drive: 'virtio', firmware: 'bios' },
  { name: 'disk by UEFI', format: 'disk', drive: 'virtio', firmware: 'uefi' },
  { name: 'CD by the BIOS', format: 'iso', drive: 'cdrom', firmware: 'bios' },
  { name: 'CD by UEFI', format: 'iso', drive: 'cdrom', firmware: 'uefi' },
];

export async function media(context: Context): Promise<Row> {
  const system = await systemOf(target, { app: APP });
  const [[disk], [iso]] = [system.format('disk').artifacts, system.format('iso').artifacts];
  const result = await built(disk, iso);
  const paths = { disk: result.path(disk), iso: result.path(iso) };
  const plain: number[] = [];
  const times = new Map(KINDS.map(({ name }) => [name, [] as number[]]));
  const runs = [
    async () => void plain.push((await answering(bootOurs(context))).byte),
    ...KINDS.map(({ name, format, drive, firmware }) => async () => {
      const medium = { path: paths[format], drive, firmware };
      const { byte } = await answering(bootOurs(context, { medium, usr: undefined }));
      times.get(name)?.push(byte);
    }),
  ];
  for (let run = 0; run < context.runs; run++) {
    note(`boot media, round ${run + 1} of ${context.runs}`);
    for (let turn = 0; turn < runs.length; turn++) await runs[(run + turn) % runs.length]?.();
  }
  const rows = [...times].flatMap(([name, list]) => [
    [`${name}, to first HTTP byte, s`, round(median(list))],
    [`${name}, more than with QEMU's -kernel, s`, round(median(list) - median(plain))],
  ]);
  return { "QEMU's -kernel, to first HTTP byte, s": round(median(plain)), ...(Object.fromEntries(rows) as Row) };
}
