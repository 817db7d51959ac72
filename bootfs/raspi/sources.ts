/** The pinned firmware of the Raspberry Pi. It is not free software; the licence is on each card. */
import { debianPlaces, type Source } from '@nodeos/engine';

export const RASPI_FIRMWARE: Source = {
  name: 'raspi-firmware',
  version: '1.20240424+ds-6',
  places: debianPlaces(
    {
      package: 'raspi-firmware',
      version: '1.20240424+ds-6',
      suite: 'trixie',
      component: 'non-free-firmware',
      arch: 'all',
    },
    'f95a3d3c41df10bac33580be91b595efa1e126ad5e4b7eca75ce26fbbc69af06',
    'c25fa0d8d3a93d7332ab81cd7706aa5928a897b8',
  ),
};
