/** What `nodeos start` takes for a container's image. Nothing is loaded here that other starts do not need. */
import { UsageError } from '@nodeos/base';
import type { Option, Parsed } from '../command.js';
import { IMAGE_OPTIONS } from '../oci/options.js';

const { mirror, 'plain-http': plainHttp } = IMAGE_OPTIONS;

export const CONTAINER_OPTIONS = {
  entrypoint: {
    type: 'string',
    value: 'PROGRAM',
    help: 'of an image: start PROGRAM instead of its entry point; empty: what follows --',
  },
  user: {
    type: 'string',
    short: 'u',
    value: 'USER[:GROUP]',
    help: 'of an image: names or numbers, instead of its user',
  },
  workdir: { type: 'string', short: 'w', value: 'PATH', help: 'of an image: the working folder, instead of its own' },
  tty: {
    type: 'boolean',
    help: 'of an image: its program is on this terminal (default: if it is a shell or an interpreter alone)',
  },
  mirror: { ...mirror, help: `of an image: ${mirror.help}` },
  'plain-http': { ...plainHttp, help: `of an image: ${plainHttp.help}` },
} as const satisfies Readonly<Record<string, Option>>;

/** The kinds of names of images. Folders of applications are named differently. */
const IMAGE = /^(?:docker:\/\/|(?:oci|oci-archive|docker-archive):)/;

export const isImage = (operand: string | undefined): operand is string => operand !== undefined && IMAGE.test(operand);

/** Options of `start` that are about an application, a REPL, or a root of our own. */
const NOT_WITH_IMAGE = ['root', 'trace', 'format', 'firmware', 'drive', 'exec', 'lock'];

/** @throws UsageError for an option that makes no sense with an image, or without one */
export function checkContainerOptions(operand: string | undefined, args: Parsed): void {
  const isGiven = (name: string): boolean => args.flag(name) || args.texts(name).length > 0;
  if (!isImage(operand)) {
    const lonely = Object.keys(CONTAINER_OPTIONS).find(isGiven);
    if (lonely !== undefined)
      throw new UsageError(`--${lonely}: only with the image of a container, such as docker://debian:12`);
    return;
  }
  const excluded = NOT_WITH_IMAGE.find(isGiven);
  if (excluded !== undefined)
    throw new UsageError(`--${excluded}: not with the image of a container`, {
      hint:
        excluded === 'root' ? 'the image is a disk of the machine; --persist FILE keeps its changes' : 'leave it out',
    });
}
