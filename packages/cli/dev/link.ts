/** The host's end of the port `PORTS.control`. The guest is not trusted: lines that are no reports are dropped. */
import { LineTail } from '@nodeos/base';
import type { DevReport } from '@nodeos/contract';

export class DevLink {
  readonly onData: (chunk: Buffer) => void;
  #send: ((text: string) => void) | undefined;
  /** Called when the application listens for the first time after a change. */
  #onAnswer: (() => void) | undefined;

  /** @param onReport is told what else the guest reports */
  constructor(onReport: (report: DevReport) => void) {
    const lines = new LineTail(0, (line) => {
      const report = reportIn(line);
      if (!report) return;
      if (report.event !== 'listening') return onReport(report);
      this.#onAnswer?.();
      this.#onAnswer = undefined;
    });
    this.onData = (chunk) => lines.push(chunk);
  }

  readonly onOpen = (send: (text: string) => void): void => void (this.#send = send);

  /** Has the application start again. @param onAnswer is called when it listens */
  restart(onAnswer: () => void): void {
    this.#onAnswer = onAnswer;
    this.#send?.('restart\n');
  }
}

function reportIn(line: string): DevReport | undefined {
  let value: Partial<Record<string, unknown>>;
  try {
    value = (JSON.parse(line) ?? {}) as typeof value;
  } catch {
    return undefined;
  }
  const { event, port, status, signal, message } = value;
  if (event === 'listening' && typeof port === 'number') return { event, port };
  if (event === 'failed' && typeof message === 'string') return { event, message };
  if (event !== 'ended' || typeof status !== 'number') return undefined;
  return { event, status, ...(typeof signal === 'string' ? { signal } : {}) };
}
