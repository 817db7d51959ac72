/**
 * The user of a container: names and numbers, by the image's own /etc/passwd and /etc/group.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties
 */
import { NodeosError } from '@nodeos/base';
import type { ImageFiles } from './files.js';

/** Bytes of each of the two files. */
const MAX_FILE = 4 << 20;
const MAX_ID = 2 ** 31 - 1;

export interface User {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly home: string;
}

/**
 * @param text `USER`, `USER:GROUP`, both names or numbers; empty for root
 * @param subject for messages
 * @throws NodeosError for a name that the image does not know, and a number that is none
 */
export async function userIn(files: ImageFiles, text: string, subject: string): Promise<User> {
  const [name = '', group = '', ...more] = text.split(':');
  if (more.length > 0) throw new NodeosError(`${subject}: the user ${JSON.stringify(text)} is not USER[:GROUP]`);
  const users = linesOf(await files.text('etc/passwd', MAX_FILE), 6);
  const groups = linesOf(await files.text('etc/group', MAX_FILE), 3);
  const id = name === '' ? 0 : numberIn(name);
  // A name that is a number is looked up as a name first, as Docker does.
  const known =
    users.find(([own]) => own === name) ?? users.find(([, , uid]) => id !== undefined && Number(uid) === id);
  const uid = known ? numberIn(known[2] ?? '') : id;
  if (uid === undefined)
    throw new NodeosError(`${subject}: the image has no user ${JSON.stringify(name)}`, {
      hint: users.length === 0 ? 'it has no /etc/passwd' : `its /etc/passwd has ${listed(users)}`,
    });
  const home = known?.[5] || '/';
  if (group === '') {
    // Only a user with a name is a member of groups.
    const member = groups.filter(([, , , members = '']) => known && members.split(',').includes(known[0] ?? ''));
    const own = known ? numberIn(known[3] ?? '') : 0;
    return { uid, gid: own ?? 0, groups: member.flatMap(([, , gid = '']) => numberIn(gid) ?? []), home };
  }
  const found = groups.find(([own]) => own === group);
  const gid = found ? numberIn(found[2] ?? '') : numberIn(group);
  if (gid === undefined)
    throw new NodeosError(`${subject}: the image has no group ${JSON.stringify(group)}`, {
      hint: groups.length === 0 ? 'it has no /etc/group' : `its /etc/group has ${listed(groups)}`,
    });
  return { uid, gid, groups: [], home };
}

/** The fields of the lines that have enough of them. */
const linesOf = (text: string, least: number): string[][] =>
  text
    .split('\n')
    .map((line) => line.split(':'))
    .filter((fields) => fields.length >= least);

function numberIn(text: string): number | undefined {
  if (!/^\d{1,10}$/.test(text)) return undefined;
  const number = Number(text);
  return number <= MAX_ID ? number : undefined;
}

const listed = (lines: readonly (readonly string[])[]): string => {
  const names = lines.map(([name = '']) => name);
  return `${names.slice(0, 8).join(', ')}${names.length > 8 ? `, and ${names.length - 8} more` : ''}`;
};
