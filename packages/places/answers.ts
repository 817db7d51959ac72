/** What places answer alike. */
import { NodeosError } from '@nodeos/base';

export const tooLarge = (path: string, most: number): NodeosError =>
  new NodeosError(`${path}: has more than the ${most} bytes that belong there`);
