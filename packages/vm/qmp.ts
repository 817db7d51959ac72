/** The one thing that is asked of QEMU's monitor: to press the power button. https://www.qemu.org/docs/master/interop/qmp-spec.html */
import { connect } from 'node:net';

/** Does nothing if QEMU is gone. */
export function pressPowerButton(path: string): void {
  const socket = connect(path);
  socket.on('error', () => undefined);
  socket.on('connect', () => {
    socket.end('{"execute":"qmp_capabilities"}\n{"execute":"system_powerdown"}\n');
  });
  socket.resume();
}
