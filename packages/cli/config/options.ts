/** Options and configuration: what an option says about a key, and a command's arguments with the configuration's values. */
import type { Parsed } from '../command.js';
import { KEY_NAMES, KEYS, type KeyName, type Values } from './schema.js';

/** The keys with an option. The application is an operand of some commands, and settled before. */
const WITH_OPTION = KEY_NAMES.filter((name) => KEYS[name].option !== undefined && name !== 'app');

/** The values that options give. They are checked where they are used. */
export function optionsOf(args: Parsed): Values {
  const given = WITH_OPTION.flatMap((name) => {
    const value = args.text(KEYS[name].option ?? '') as string | readonly string[] | undefined;
    if (value === undefined) return [];
    return [[name, name === 'cpus' ? Number(value) : value] as const];
  });
  return Object.fromEntries(given);
}

/** The command's arguments, in which options that are not given have the values of the configuration. */
export function withConfiguration(args: Parsed, values: Values): Parsed {
  const texts = new Map<string, readonly string[]>(
    WITH_OPTION.flatMap((name) =>
      values[name] === undefined ? [] : [[KEYS[name].option ?? '', textsOf(name, values)]],
    ),
  );
  /** Keys that options add to. */
  const added = new Set(WITH_OPTION.filter((name) => KEYS[name].merge === 'append').map((name) => KEYS[name].option));
  return {
    ...args,
    text: (name) => args.text(name) ?? texts.get(name)?.[0],
    texts(name) {
      const given = args.texts(name);
      if (name === KEYS.trustedKeys.option) return given; // those of the project are apart
      const configured = texts.get(name) ?? [];
      return added.has(name) ? [...given, ...configured] : given.length > 0 ? given : configured;
    },
    number(name, minimum) {
      const [configured] = texts.get(name) ?? [];
      return args.number(name, minimum) ?? (configured === undefined ? undefined : Number(configured));
    },
  };
}

const textsOf = (name: KeyName, values: Values): string[] => [values[name]].flat().map(String);
