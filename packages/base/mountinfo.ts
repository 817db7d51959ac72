/** What is mounted where: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html */

export interface Mount {
  /** Major and minor number of the device: `8:1`. */
  readonly device: string;
  /** Where it is mounted. */
  readonly place: string;
  /** What was mounted, such as `/dev/sda1`. */
  readonly source: string;
}

/** Parses the file. Lines are of the form `36 35 8:1 / /mnt rw,noatime … - ext4 /dev/sda1 rw`. */
export function mountsIn(mountinfo: string): Mount[] {
  return mountinfo.split('\n').map((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const [, , device = '', , place = ''] = left.split(' ');
    return { device, place: unescaped(place), source: right.split(' ')[1] ?? '' };
  });
}

/** Spaces and similar characters are written in octal. */
const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
