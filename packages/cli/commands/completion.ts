/** nodeos completion: what makes a shell complete command lines of nodeos. Each shell has its own file in completion/. */
import { UsageError } from '@nodeos/base';
import { bashScript } from '../completion/bash.js';
import { fishScript } from '../completion/fish.js';
import { branchesOf, vocabulary, type Branch } from '../completion/words.js';
import { zshScript } from '../completion/zsh.js';
import type { Command, Group, Unlisted } from '../command.js';

const SHELLS: Readonly<Record<string, (branches: readonly Branch[]) => string>> = {
  bash: bashScript,
  zsh: zshScript,
  fish: fishScript,
};

/** @param commands all commands of the program, with this one */
export const completionCommand = (commands: () => Promise<readonly (Command | Group)[]>): Unlisted<Command> => ({
  operands: Object.keys(SHELLS).join('|'),
  options: {},
  examples: [
    ['eval "$(nodeos completion bash)"', 'in ~/.bashrc'],
    ['eval "$(nodeos completion zsh)"', 'in ~/.zshrc, after compinit'],
    ['nodeos completion fish > ~/.config/fish/completions/nodeos.fish', 'once'],
  ],
  async run(args, io) {
    const [shell, ...more] = args.operands;
    const script = shell !== undefined && Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
    if (!script || more.length > 0)
      throw new UsageError(`nodeos completion ${args.operands.join(' ')}: expected one shell`, {
        hint: `the shells are: ${Object.keys(SHELLS).join(', ')}`,
      });
    io.stdout.write(script(branchesOf(await commands(), await vocabulary())));
    return 0;
  },
});
