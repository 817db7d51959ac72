/** nodeos store gc of a registry: packs of which little is needed are written anew, and old manifests are deleted. */
import { formatSize, visibleJson } from '@nodeos/base';
import { collectPacks, type CollectedPacks, type PackRepository } from '@nodeos/store';
import { printMessage, type Io, type Parsed } from '../command.js';
import { meterFor } from '../nbd/progress.js';

/** @returns the exit status: 1 if chunks are damaged */
export async function collectRegistry(
  repository: PackRepository,
  { grace, isDry }: { readonly grace: number; readonly isDry: boolean },
  args: Parsed,
  io: Io,
): Promise<number> {
  const isJson = args.flag('json');
  const meter = meterFor('moved', args, io);
  const progress = (what: 'reading' | 'moving', done: number, all: number): void => {
    if (!isJson && what === 'moving') meter.update(done, all);
  };
  const done = await collectPacks(repository, { grace, isDry, progress, signal: io.signal }).finally(() => {
    if (!isJson) meter.close();
  });
  if (isJson) io.stdout.write(visibleJson({ ...done, dry: isDry }) + '\n');
  else for (const line of linesOf(done, isDry)) printMessage(io, `${repository.name}: ${line}`);
  return done.damaged > 0 ? 1 : 0;
}

function linesOf(done: CollectedPacks, isDry: boolean): string[] {
  const size = formatSize;
  const would = isDry ? 'to be ' : '';
  return [
    `${done.images} images need ${size(done.neededBytes)} of ${done.packs} packs of ${size(done.packBytes)}`,
    `${would}rewritten ${done.rewritten} packs (${size(done.movedBytes)} moved), ${would}dropped ${done.dropped}; ${would}updated ${done.updated} images; ${size(done.unneededBytes)} become free`,
    `${would}deleted ${done.deleted} replaced manifests; ${done.waiting} wait`,
    ...(done.changed > 0 ? [`${done.changed} images were pushed meanwhile, and wait for the next collection`] : []),
    ...(done.damaged > 0
      ? [`${done.damaged} chunks are not what their ids say, and stay where they are: nodeos store verify says which`]
      : []),
    ...(done.refused > 0
      ? [
          `${done.refused} replaced manifests stay, because the registry deletes nothing: whoever runs it may allow that`,
        ]
      : []),
    ...(done.deleted > 0 && !isDry ? ['the registry’s own collection frees what they alone have named'] : []),
  ];
}
