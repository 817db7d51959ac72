/** SD cards for the Raspberry Pi. bootfs/raspi/card.ts describes what is on them. */
import { CARD_FILE, raspberryCard } from '../raspi/card.js';
import type { Format } from './format.js';

export const RASPI: Format = {
  name: 'raspi',
  summary: 'an SD card for the Raspberry Pi 3, 3+, Zero 2 W and 4',
  files: [CARD_FILE],
  image: 'raw',
  drive: 'card',
  target: 'aarch64',
  firmware: 'raspi',
  build: (parts) => raspberryCard(parts).step,
};
